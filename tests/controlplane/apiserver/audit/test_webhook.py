"""Audit events that are sent to a program outside."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.apiserver.audit import webhook
from controlplane.apiserver.audit.webhook import AuditWebhook, Batching
from controlplane.machinery.config import ConfigError
from controlplane.objects.kinds import CONFIG_MAPS
from tests.controlplane.apiserver.audit.test_policy import policy
from tests.controlplane.apiserver.conftest import StartApi
from tests.controlplane.apiserver.examples import config_map
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.outside import kubeconfig_of, serving
from tests.controlplane.apiserver.pki import Authority

Object = dict[str, Any]


class Program:
    """Takes lists of events; `codes` are what it says first, then it says 200."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self.lists: list[Object] = []
        self.news = asyncio.Event()

    def answer(self, method: str, path: str, body: Object) -> tuple[int, Object]:
        assert (method, path, body["kind"], body["apiVersion"]) == ("POST", "/", "EventList", "audit.k8s.io/v1")
        self.lists.append(body)
        self.news.set()
        return (self._codes.pop(0) if self._codes else 200), {}

    async def batches(self, count: int) -> list[list[str]]:
        """The events of so many requests, as the numbers that `line` gave them."""
        async with asyncio.timeout(5):
            while len(self.lists) < count:
                self.news.clear()
                await self.news.wait()
        return [[item["auditID"] for item in each["items"]] for each in self.lists]


def line(number: int) -> bytes:
    return b'{"kind":"Event","auditID":"%d"}\n' % number


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_batch_is_sent_when_it_is_full_or_old(authority: Authority, tmp_path: Path) -> None:
    program = Program()
    async with serving(authority, program.answer) as server:
        sink = AuditWebhook(kubeconfig_of(authority, server, tmp_path / "hook"), Batching(3, 0.2))
        for number in range(7):
            sink.write(line(number))
        task = asyncio.create_task(sink.run())
        assert await program.batches(3) == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
        await ended(task)
    assert (sink.sent, sink.dropped) == (7, 0)


async def test_what_fails_is_asked_again_and_what_is_refused_is_lost(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "FIRST_PAUSE_SECONDS", 0.01)
    program = Program(503, 429, 200, 400)
    async with serving(authority, program.answer) as server:
        sink = AuditWebhook(kubeconfig_of(authority, server, tmp_path / "hook"), Batching(1, 0.2))
        for number in range(3):
            sink.write(line(number))
        task = asyncio.create_task(sink.run())
        assert await program.batches(5) == [["0"], ["0"], ["0"], ["1"], ["2"]]
        await ended(task)
    assert (sink.sent, sink.dropped) == (2, 1)


async def test_what_waits_when_the_server_stops_is_sent_still(authority: Authority, tmp_path: Path) -> None:
    program = Program()
    async with serving(authority, program.answer) as server:
        sink = AuditWebhook(kubeconfig_of(authority, server, tmp_path / "hook"), Batching(10, 60.0))
        task = asyncio.create_task(sink.run())
        await asyncio.sleep(0)
        sink.write(line(1))
        await ended(task)
    assert await program.batches(1) == [["1"]]


async def test_the_buffer_is_bounded(authority: Authority, tmp_path: Path) -> None:
    file = kubeconfig_of(authority, "https://127.0.0.1:1", tmp_path / "hook")
    sink = AuditWebhook(file, Batching(most_buffered_events=2))
    for number in range(5):
        sink.write(line(number))
    assert sink.dropped == 3
    file.write_text(file.read_text().replace("https://127.0.0.1:1", "nonsense"))
    with pytest.raises(ConfigError):
        AuditWebhook(file, Batching())


async def test_a_server_tells_its_webhook_of_requests(
    start_api: StartApi, authority: Authority, tmp_path: Path
) -> None:
    program = Program()
    (tmp_path / "policy.yaml").write_text(policy({"level": "Request", "resources": [{"resources": ["configmaps"]}]}))
    async with serving(authority, program.answer) as server:
        api = await start_api(
            MemoryBackend(),
            audit_policy_file=tmp_path / "policy.yaml",
            audit_webhook_config_file=kubeconfig_of(authority, server, tmp_path / "hook"),
            audit_webhook_batch_max_size=2,
        )
        await api.client().create(CONFIG_MAPS, config_map("a", k="v"), "default")
        await program.batches(1)
    events = program.lists[0]["items"]
    assert [event["stage"] for event in events] == ["RequestReceived", "ResponseComplete"]
    assert json.loads(json.dumps(events[1]["requestObject"]))["data"] == {"k": "v"}
