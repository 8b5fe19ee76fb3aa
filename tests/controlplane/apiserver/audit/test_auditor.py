"""What stands in the audit log after requests of all kinds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.apiserver.audit import log
from controlplane.apiserver.audit.log import AuditLog, Rotation
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS, NAMESPACES, PODS
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.audit.test_policy import policy
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.examples import config_map, pod
from tests.controlplane.apiserver.memory import MemoryBackend

Event = dict[str, Any]


class Audited:
    """A server with an audit log, and what the log says."""

    def __init__(self, api: Api, path: Path) -> None:
        self.api = api
        self._path = path

    async def events(self, stage: str, count: int = 1) -> list[Event]:
        """So many events of a stage, once they are written."""
        async with asyncio.timeout(5):
            while True:
                text = await asyncio.to_thread(self._path.read_text) if self._path.exists() else ""
                found = [event for event in map(json.loads, text.splitlines()) if event["stage"] == stage]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.005)


@pytest.fixture
async def audited(start_api: StartApi, tmp_path: Path) -> Any:
    async def start(*rules: dict[str, Any], **more: Any) -> Audited:
        file, path = tmp_path / "policy.yaml", tmp_path / "audit.log"
        file.write_text(policy(*rules, **more))
        return Audited(await start_api(MemoryBackend(), audit_policy_file=file, audit_log_path=str(path)), path)

    return start


ABOUT_CONFIG_MAPS = {"resources": [{"group": "", "resources": ["configmaps"]}]}


async def test_a_write_is_told_with_who_what_and_what_came_of_it(audited: Any) -> None:
    found: Audited = await audited({"level": "Metadata", **ABOUT_CONFIG_MAPS})
    client: ApiClient = found.api.client("jane", ("system:masters",))
    answer = await client.raw("POST", CONFIG_MAPS.path("default"), config_map("a", k="v"))
    (received,) = await found.events("RequestReceived")
    (event,) = await found.events("ResponseComplete")
    assert received["auditID"] == event["auditID"] == answer.headers["audit-id"]
    assert "responseStatus" not in received
    assert event["kind"] == "Event" and event["apiVersion"] == "audit.k8s.io/v1" and event["level"] == "Metadata"
    assert event["verb"] == "create" and event["user"]["username"] == "jane"
    assert event["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert event["responseStatus"] == {"metadata": {}, "code": 201}
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert event["sourceIPs"] == ["127.0.0.1"] and event["requestURI"].startswith(
        "/api/v1/namespaces/default/configmaps"
    )
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]
    assert "requestObject" not in event and "responseObject" not in event


async def test_bodies_are_told_as_the_level_says(audited: Any) -> None:
    rule = {"level": "RequestResponse", "omitStages": ["RequestReceived"], "omitManagedFields": True}
    found: Audited = await audited({**rule, **ABOUT_CONFIG_MAPS})
    await found.api.client().create(CONFIG_MAPS, config_map("a", k="v"), "default")
    (event,) = await found.events("ResponseComplete")
    assert event["requestObject"]["data"] == event["responseObject"]["data"] == {"k": "v"}
    assert event["responseObject"]["metadata"]["uid"] and "managedFields" not in event["responseObject"]["metadata"]


async def test_refusals_impersonation_and_strangers_are_told(audited: Any) -> None:
    found: Audited = await audited({"level": "Metadata", "omitStages": ["RequestReceived"], **ABOUT_CONFIG_MAPS})
    path = CONFIG_MAPS.path("default")
    assert (await found.api.client("joe", ()).raw("GET", path)).status == 403
    await found.api.client().raw("GET", path, headers={"impersonate-user": "joe"})
    await found.api.token_client("no token").raw("GET", path)
    events = await found.events("ResponseComplete", 3)
    assert [event["responseStatus"]["code"] for event in events] == [403, 403, 401]
    assert events[0]["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert events[0]["responseStatus"]["reason"] == "Forbidden"
    assert events[1]["user"]["username"] == "admin" and events[1]["impersonatedUser"]["username"] == "joe"


async def test_a_watch_is_told_when_it_begins_and_when_it_ends(audited: Any) -> None:
    found: Audited = await audited({"level": "Metadata", **ABOUT_CONFIG_MAPS})
    client: ApiClient = found.api.client()
    await client.raw("GET", CONFIG_MAPS.path("default"), query={"watch": "1", "timeoutSeconds": "1"})
    (started,) = await found.events("ResponseStarted")
    (ended,) = await found.events("ResponseComplete")
    assert started["verb"] == ended["verb"] == "watch" and started["auditID"] == ended["auditID"]


async def test_violations_of_pod_security_are_annotated(audited: Any) -> None:
    found: Audited = await audited({"level": "Metadata", "resources": [{"group": "", "resources": ["pods"]}]})
    client: ApiClient = found.api.client()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await client.create(NAMESPACES, {"metadata": {"name": "n", "labels": labels}})
    from controlplane.objects.kinds import SERVICE_ACCOUNTS

    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "n")
    with pytest.raises(ApiError):
        await client.create(PODS, pod("p"), "n")
    (event,) = await found.events("ResponseComplete")
    assert event["annotations"]["pod-security.kubernetes.io/enforce-policy"] == "restricted:latest"


def test_full_files_are_put_aside_and_old_ones_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MEBIBYTE", 10)
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal now
        now += timedelta(hours=1)
        return now

    written = AuditLog(str(tmp_path / "audit.log"), Rotation(1, 2, 0), clock)
    for number in range(5):
        written.write(b"line %d of events\n" % number)
        written.flush()
    backups = sorted(path.read_bytes() for path in tmp_path.glob("audit-*.log"))
    assert backups == [b"line 3 of events\n", b"line 4 of events\n"] and written.written == 5


def test_what_a_slow_disk_cannot_take_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_BUFFERED_EVENTS", 3)
    written = AuditLog(str(tmp_path / "audit.log"), Rotation(), lambda: datetime.now(UTC))
    for _ in range(5):
        written.write(b"x\n")
    written.flush()
    assert (written.written, written.dropped) == (3, 2)
