"""What the server refuses to spend on one request: time, bytes; and what it does not tell of its own failures."""

from __future__ import annotations

import pytest

from controlplane.apiserver.storage.backend import Row
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS
from tests.controlplane.apiserver.conftest import StartApi
from tests.controlplane.apiserver.examples import config_map
from tests.controlplane.apiserver.fairness.test_fairness import SlowBackend
from tests.controlplane.apiserver.memory import MemoryBackend


@pytest.mark.parametrize("query", [{}, {"timeout": "50ms"}])
async def test_a_request_that_takes_too_long_is_ended(start_api: StartApi, query: dict[str, str]) -> None:
    limit = 60.0 if query else 0.05
    client: ApiClient = (await start_api(SlowBackend(), request_timeout_seconds=limit)).client()
    answer = await client.raw("GET", CONFIG_MAPS.path("default"), query=query)
    assert answer.status == 504 and b'"reason":"Timeout"' in answer.body
    assert b"request did not complete within the allotted timeout" in answer.body
    assert (await client.raw("GET", "/api/v1/namespaces")).status == 200


async def test_a_timeout_that_is_no_duration_is_refused(client: ApiClient) -> None:
    answer = await client.raw("GET", CONFIG_MAPS.path("default"), query={"timeout": "soon"})
    assert answer.status == 400 and b"invalid timeout specified in the request URL" in answer.body


async def test_a_body_of_more_than_three_mebibytes_is_refused(client: ApiClient) -> None:
    answer = await client.raw("POST", CONFIG_MAPS.path("default"), config_map("a", k="x" * 3 * 1024 * 1024))
    assert answer.status == 413 and b"RequestEntityTooLarge" in answer.body


class BrokenBackend(MemoryBackend):
    """Has a bug in one place."""

    async def get(self, key: bytes) -> tuple[Row | None, int]:
        if key.endswith(b"/broken"):
            raise RuntimeError("the password is swordfish")
        return await super().get(key)


async def test_a_failure_of_our_own_is_told_in_the_log_and_not_to_the_client(
    start_api: StartApi, caplog: pytest.LogCaptureFixture
) -> None:
    client: ApiClient = (await start_api(BrokenBackend())).client()
    answer = await client.raw("GET", CONFIG_MAPS.path("default", "broken"))
    assert answer.status == 500 and b'"reason":"InternalError"' in answer.body
    assert b"swordfish" not in answer.body and b"Traceback" not in answer.body
    assert "swordfish" in caplog.text and "/configmaps/broken failed" in caplog.text
