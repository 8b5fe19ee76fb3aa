"""Jobs on a fake API: the world's kubelet starts pods, the scenario ends them."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.controllers import job, ttl_after_finished
from controlplane.controllers._indexes import format_indexes, parse_indexes
from controlplane.controllers.job import INDEX
from controlplane.objects.kinds import JOBS, PODS
from controlplane.objects.meta import get_in
from tests.controlplane.controllers.world import World, conditions, until

Object = dict[str, Any]


def make(restart: str = "Never", **spec: Any) -> Object:
    template = {"spec": {"restartPolicy": restart, "containers": [{"name": "main", "image": "i"}]}}
    return {"metadata": {"name": "work", "namespace": "ns"}, "spec": {"template": template, **spec}}


def found(w: World) -> Object:
    return w.api.find(JOBS, "work", "ns")


def status(w: World) -> Object:
    return found(w).get("status", {})


def active(w: World) -> list[Object]:
    return [pod for pod in w.pods() if get_in(pod, "status", "phase") == "Running"]


async def finish(w: World, phase: str = "Succeeded", count: int = 1) -> None:
    """End `count` pods, as they start."""
    for _ in range(count):
        await until(lambda: bool(active(w)), 600)
        w.finish(active(w)[0], phase, 0 if phase == "Succeeded" else 1)
        await asyncio.sleep(0.1)


def test_it_completes_when_enough_pods_have_succeeded_and_never_runs_more_than_it_may() -> None:
    w = World(job)

    async def scenario(w: World) -> None:
        w.api.put(JOBS, make(completions=5, parallelism=2))
        for _ in range(5):
            await until(lambda: bool(active(w)))
            await asyncio.sleep(2)
            assert len(active(w)) <= 2
            await finish(w)
        await asyncio.sleep(1)
        assert conditions(found(w)) == {
            "SuccessCriteriaMet": ("True", "CompletionsReached"),
            "Complete": ("True", "CompletionsReached"),
        }
        assert (status(w)["succeeded"], status(w).get("active"), len(w.api.all(PODS))) == (5, None, 5)
        assert status(w)["startTime"] <= status(w)["completionTime"]
        assert w.events("Completed") == ["Job completed"]

    w.run(scenario)


def test_failed_pods_are_replaced_after_a_doubling_back_off_until_the_limit() -> None:
    w = World(job)

    async def scenario(w: World) -> None:
        loop = asyncio.get_running_loop()
        w.api.put(JOBS, make(backoffLimit=2))
        times: list[float] = []
        for _ in range(3):
            await finish(w, "Failed")
            times.append(loop.time())
        await asyncio.sleep(60)
        assert conditions(found(w)) == {
            "FailureTarget": ("True", "BackoffLimitExceeded"),
            "Failed": ("True", "BackoffLimitExceeded"),
        }
        assert status(w)["failed"] == 3 and len(w.api.all(PODS)) == 3
        assert times[1] - times[0] > 9 and times[2] - times[1] > 19

    w.run(scenario)


def test_the_deadline_fails_the_job_and_stops_its_pods() -> None:
    w = World(job)

    async def scenario(w: World) -> None:
        w.api.put(JOBS, make(activeDeadlineSeconds=30, parallelism=3, completions=3))
        await asyncio.sleep(20)
        assert status(w)["active"] == 3
        await asyncio.sleep(15)
        assert conditions(found(w))["Failed"] == ("True", "DeadlineExceeded")
        assert w.pods() == []

    w.run(scenario)


def test_restarts_in_place_count_against_the_limit() -> None:
    w = World(job)

    async def scenario(w: World) -> None:
        w.api.put(JOBS, make("OnFailure", backoffLimit=3))
        await until(lambda: bool(active(w)))
        pod = active(w)[0]
        states = [{"name": "main", "restartCount": 3}]
        w.api.change(PODS, pod["metadata"]["name"], "ns", lambda obj: obj["status"].update(containerStatuses=states))
        await asyncio.sleep(5)
        assert conditions(found(w))["Failed"] == ("True", "BackoffLimitExceeded")

    w.run(scenario)


def test_without_completions_one_success_ends_it_when_the_others_have_ended() -> None:
    w = World(job)

    async def scenario(w: World) -> None:
        w.api.put(JOBS, make(parallelism=3))
        await until(lambda: len(active(w)) == 3)
        await finish(w)
        await asyncio.sleep(5)
        assert "Complete" not in conditions(found(w)) and len(active(w)) == 2
        await finish(w, count=2)
        await asyncio.sleep(1)
        assert conditions(found(w))["Complete"][0] == "True" and len(w.api.all(PODS)) == 3

    w.run(scenario)


def test_an_indexed_job_runs_every_index_once_and_knows_which_are_done() -> None:
    w = World(job)

    async def scenario(w: World) -> None:
        w.api.put(JOBS, make(completions=4, parallelism=2, completionMode="Indexed"))
        await until(lambda: len(active(w)) == 2)
        indexes = [pod["metadata"]["annotations"][INDEX] for pod in active(w)]
        assert sorted(indexes) == ["0", "1"]
        assert [get_in(pod, "spec", "hostname") for pod in active(w)] == [f"work-{index}" for index in indexes]
        last = max(active(w), key=lambda pod: pod["metadata"]["annotations"][INDEX])
        w.finish(last, "Succeeded")
        await asyncio.sleep(3)
        assert status(w)["completedIndexes"] == "1"
        w.api.remove(PODS, last["metadata"]["name"], "ns")
        await finish(w, count=3)
        await asyncio.sleep(1)
        assert status(w)["completedIndexes"] == "0-3" and conditions(found(w))["Complete"][0] == "True"

    w.run(scenario)


def test_a_suspended_job_has_no_pods_and_goes_on_when_resumed() -> None:
    w = World(job)

    async def scenario(w: World) -> None:
        w.api.put(JOBS, make(suspend=True))
        await asyncio.sleep(5)
        assert w.pods() == [] and conditions(found(w))["Suspended"] == ("True", "JobSuspended")
        w.api.change(JOBS, "work", "ns", lambda obj: obj["spec"].update(suspend=False))
        await finish(w)
        await asyncio.sleep(1)
        assert conditions(found(w))["Complete"][0] == "True"
        assert conditions(found(w))["Suspended"] == ("False", "JobResumed")

    w.run(scenario)


def test_a_finished_job_goes_when_its_time_to_live_is_over() -> None:
    w = World(job, ttl_after_finished)

    async def scenario(w: World) -> None:
        w.api.put(JOBS, make(ttlSecondsAfterFinished=100))
        await finish(w)
        await asyncio.sleep(90)
        assert w.api.all(JOBS)
        await asyncio.sleep(20)
        (left,) = w.api.all(JOBS)  # the collector would finish it
        assert left["metadata"]["finalizers"] == ["foregroundDeletion"]

    w.run(scenario)


def test_indexes_are_written_as_kubernetes_writes_them() -> None:
    assert format_indexes([7, 0, 2, 3, 4, 5, 9, 10]) == "0,2-5,7,9,10"


@given(st.sets(st.integers(0, 50)))
def test_indexes_survive_being_written(indexes: set[int]) -> None:
    assert parse_indexes(format_indexes(indexes)) == indexes
