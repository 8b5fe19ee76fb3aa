"""Events: counted, bounded, never in the way."""

import asyncio
from random import Random
from typing import Any

from controlplane.machinery.client import ApiError
from controlplane.machinery.clock import FakeClock
from controlplane.machinery.events import QUEUE_LIMIT, EventRecorder
from controlplane.objects.kinds import EVENTS
from tests.controlplane.fakes import FakeApi, run_virtual

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "u"}}


def recording(api: FakeApi, test: Any) -> None:
    async def main() -> None:
        recorder = EventRecorder(api.client(), "tester", clock=api.clock, random=Random(1))
        task = asyncio.ensure_future(recorder.run())
        await test(recorder)
        task.cancel()

    run_virtual(main(), api.clock)


def test_the_same_event_is_counted_and_its_last_time_moves() -> None:
    api = FakeApi(FakeClock())

    async def test(recorder: EventRecorder) -> None:
        for _ in range(3):
            recorder.event(POD, "Warning", "FailedScheduling", "no room")
            await recorder.flush()
            await asyncio.sleep(10)
        recorder.event(POD, "Normal", "Scheduled", "there")
        await recorder.flush()

    recording(api, test)
    counted, other = sorted(api.all(EVENTS), key=lambda event: -event["count"])
    assert (counted["count"], counted["firstTimestamp"], counted["lastTimestamp"]) == (
        3,
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:20Z",
    )
    assert counted["involvedObject"] == {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "ns", "uid": "u"}
    assert counted["metadata"]["namespace"] == "ns" and other["reason"] == "Scheduled"


def test_an_event_that_expired_begins_anew_with_its_count_kept() -> None:
    api = FakeApi()

    async def test(recorder: EventRecorder) -> None:
        recorder.event(POD, "Normal", "Pulled", "image")
        await recorder.flush()
        (event,) = api.all(EVENTS)
        api.remove(EVENTS, event["metadata"]["name"], "ns")
        recorder.event(POD, "Normal", "Pulled", "image")
        await recorder.flush()

    recording(api, test)
    (event,) = api.all(EVENTS)
    assert event["count"] == 2


def test_refusals_and_a_full_queue_lose_events_and_nothing_else() -> None:
    api = FakeApi()

    async def test(recorder: EventRecorder) -> None:
        api.fail_next("create", ApiError(403, "Forbidden", "namespace is going"), EVENTS)
        for number in range(QUEUE_LIMIT + 7):
            recorder.event(POD, "Normal", "Busy", f"{number}")
        await recorder.flush()
        assert recorder.dropped == 7

    recording(api, test)
    assert len(api.all(EVENTS)) == QUEUE_LIMIT - 1


def test_a_long_message_is_cut() -> None:
    api = FakeApi()

    async def test(recorder: EventRecorder) -> None:
        recorder.event(POD, "Normal", "Long", "é" * 2000)
        await recorder.flush()

    recording(api, test)
    message = api.all(EVENTS)[0]["message"]
    assert len(message.encode()) <= 1024 and message.endswith("...")
