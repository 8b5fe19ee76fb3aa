"""StatefulSets, DaemonSets, CronJobs and disruption budgets on a fake API."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.controllers import cronjob, daemonset, deployment, disruption, job, replicaset, statefulset
from controlplane.objects.kinds import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    STATEFUL_SETS,
)
from controlplane.objects.meta import get_in, is_true
from tests.controlplane.controllers.world import World, conditions

Object = dict[str, Any]

LABELS = {"app": "db"}


def template(image: str = "v1") -> Object:
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "main", "image": image}]}}


def owned(**spec: Any) -> Object:
    body = {"selector": {"matchLabels": LABELS}, "template": template(), **spec}
    return {"metadata": {"name": "db", "namespace": "ns"}, "spec": body}


def names(w: World) -> list[str]:
    return [pod["metadata"]["name"] for pod in w.api.all(PODS)]


def images(w: World) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in w.api.all(PODS)]


def change(w: World, resource: Any, **spec: Any) -> None:
    w.api.change(resource, "db", "ns", lambda obj: obj["spec"].update(spec))


def test_stateful_pods_come_one_by_one_with_fixed_names_and_their_claims() -> None:
    w = World(statefulset, start_seconds=2)
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}

    async def scenario(w: World) -> None:
        w.api.put(STATEFUL_SETS, owned(replicas=3, serviceName="db", volumeClaimTemplates=[claim]))
        await asyncio.sleep(1)
        assert names(w) == ["db-0"]
        await asyncio.sleep(2)
        assert names(w) == ["db-0", "db-1"]
        await asyncio.sleep(10)
        assert names(w) == ["db-0", "db-1", "db-2"]
        pod = w.api.find(PODS, "db-1", "ns")
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
        assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}]
        claims = [found["metadata"]["name"] for found in w.api.all(PERSISTENT_VOLUME_CLAIMS)]
        assert claims == ["data-db-0", "data-db-1", "data-db-2"]
        status = w.api.find(STATEFUL_SETS, "db", "ns")["status"]
        assert (status["readyReplicas"], status["currentRevision"]) == (3, status["updateRevision"])

    w.run(scenario)


def test_stateful_pods_go_in_reverse_order_and_come_back_under_their_name() -> None:
    w = World(statefulset)

    async def scenario(w: World) -> None:
        w.api.put(STATEFUL_SETS, owned(replicas=3))
        await asyncio.sleep(20)
        w.api.remove(PODS, "db-1", "ns")
        await asyncio.sleep(5)
        assert names(w) == ["db-0", "db-1", "db-2"]
        change(w, STATEFUL_SETS, replicas=1)
        await asyncio.sleep(0.5)
        assert [pod["metadata"]["name"] for pod in w.pods()] == ["db-0", "db-1"]
        await asyncio.sleep(20)
        assert names(w) == ["db-0"]

    w.run(scenario)


def test_a_stateful_update_goes_from_the_last_to_the_partition() -> None:
    w = World(statefulset)

    async def scenario(w: World) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        w.api.put(STATEFUL_SETS, owned(replicas=3, updateStrategy=strategy))
        await asyncio.sleep(20)
        change(w, STATEFUL_SETS, template=template("v2"))
        lowest = 3
        for _ in range(300):
            lowest = min(lowest, sum(is_true(pod, "Ready") for pod in w.pods()))
            await asyncio.sleep(0.1)
        assert images(w) == ["v1", "v2", "v2"] and lowest == 2

    w.run(scenario)


def test_a_stuck_first_pod_holds_the_others_unless_they_are_managed_in_parallel() -> None:
    for policy, expected in (("OrderedReady", 1), ("Parallel", 3)):
        w = World(statefulset)
        w.broken = lambda pod: True

        async def scenario(w: World, policy: str = policy, expected: int = expected) -> None:
            w.api.put(STATEFUL_SETS, owned(replicas=3, podManagementPolicy=policy))
            await asyncio.sleep(20)
            assert len(names(w)) == expected

        w.run(scenario)


def daemon_world() -> World:
    w = World(daemonset)
    w.node = daemonset.node_of
    for number in range(3):
        w.api.put(
            NODES, {"metadata": {"name": f"n{number}", "labels": {"disk": "ssd" if number else "hdd"}}, "spec": {}}
        )
    return w


def test_a_daemon_runs_once_on_each_node_and_follows_nodes() -> None:
    w = daemon_world()

    async def scenario(w: World) -> None:
        w.api.put(DAEMON_SETS, owned())
        await asyncio.sleep(5)
        assert sorted(pod["spec"]["nodeName"] for pod in w.pods()) == ["n0", "n1", "n2"]
        w.api.put(NODES, {"metadata": {"name": "n3"}, "spec": {}})
        w.api.change(NODES, "n0", "", lambda node: node["spec"].update(taints=[{"key": "x", "effect": "NoExecute"}]))
        await asyncio.sleep(5)
        assert sorted(pod["spec"]["nodeName"] for pod in w.pods()) == ["n1", "n2", "n3"]
        status = w.api.find(DAEMON_SETS, "db", "ns")["status"]
        assert (status["desiredNumberScheduled"], status["numberReady"], status["numberAvailable"]) == (3, 3, 3)

    w.run(scenario)


def test_a_daemon_with_a_node_selector_and_an_update_one_node_at_a_time() -> None:
    w = daemon_world()

    async def scenario(w: World) -> None:
        chosen = {**template(), "spec": {**template()["spec"], "nodeSelector": {"disk": "ssd"}}}
        w.api.put(DAEMON_SETS, owned(template=chosen))
        await asyncio.sleep(5)
        assert len(w.pods()) == 2
        newer = {**chosen, "spec": {**chosen["spec"], "containers": [{"name": "main", "image": "v2"}]}}
        change(w, DAEMON_SETS, template=newer)
        lowest = 2
        for _ in range(200):
            lowest = min(lowest, sum(is_true(pod, "Ready") for pod in w.pods()))
            await asyncio.sleep(0.05)
        assert images(w) == ["v2", "v2"] and lowest == 1

    w.run(scenario)


def cron(schedule: str = "*/5 * * * *", **spec: Any) -> Object:
    body = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}}}
    return {
        "metadata": {"name": "db", "namespace": "ns"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": body}, **spec},
    }


def test_a_cron_job_runs_at_its_times_and_keeps_a_short_history() -> None:
    w = World(cronjob, job)

    async def scenario(w: World) -> None:
        w.api.put(CRON_JOBS, cron(successfulJobsHistoryLimit=2))
        await asyncio.sleep(1)
        for count in range(1, 5):
            await asyncio.sleep(300)
            assert len([event for event in w.api.history if event.resource is JOBS and event.type == "ADDED"]) == count
            for pod in w.pods():
                w.finish(pod, "Succeeded")
        await asyncio.sleep(5)
        assert len(w.api.all(JOBS)) == 2
        status = w.api.find(CRON_JOBS, "db", "ns")["status"]
        assert status["lastScheduleTime"] == "2026-01-01T00:20:00Z"

    w.run(scenario)


@pytest.mark.parametrize(("policy", "jobs"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
def test_what_happens_to_a_run_that_still_goes_on(policy: str, jobs: int) -> None:
    w = World(cronjob, job)

    async def scenario(w: World) -> None:
        w.api.put(CRON_JOBS, cron(concurrencyPolicy=policy))
        await asyncio.sleep(650)
        assert len(w.api.all(JOBS)) == jobs

    w.run(scenario)


def test_times_missed_are_run_once_and_zones_count() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    last = datetime(2026, 7, 1, 9, tzinfo=UTC)
    due, following = cronjob.times(cron("0 * * * *"), last, noon)
    assert (due, following) == (noon, datetime(2026, 7, 1, 13, tzinfo=UTC))
    due, _ = cronjob.times(cron("0 8 * * *", timeZone="Europe/Berlin"), datetime(2026, 6, 30, tzinfo=UTC), noon)
    assert due == datetime(2026, 7, 1, 6, tzinfo=UTC)


def test_a_schedule_that_cannot_be_read_is_told() -> None:
    w = World(cronjob)

    async def scenario(w: World) -> None:
        w.api.put(CRON_JOBS, cron("every tuesday"))
        await asyncio.sleep(5)
        assert len(w.events("UnparseableSchedule")) == 1 and w.api.all(JOBS) == []

    w.run(scenario)


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"minAvailable": 3}, 3, 1),
        ({"minAvailable": "50%"}, 2, 2),
        ({"maxUnavailable": 1}, 3, 1),
        ({"minAvailable": 4}, 4, 0),
    ],
)
def test_a_budget_says_how_many_pods_may_go(spec: Object, desired: int, allowed: int) -> None:
    w = World(deployment, replicaset, disruption)

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, owned(replicas=4))
        budget = {"selector": {"matchLabels": LABELS}, **spec}
        w.api.put(POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b", "namespace": "ns"}, "spec": budget})
        await asyncio.sleep(10)
        found = w.api.find(POD_DISRUPTION_BUDGETS, "b", "ns")
        status = found["status"]
        assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (desired, allowed)
        assert (status["expectedPods"], status["currentHealthy"]) == (4, 4)
        assert get_in(conditions(found), "DisruptionAllowed")[0] == str(allowed > 0)

    w.run(scenario)
