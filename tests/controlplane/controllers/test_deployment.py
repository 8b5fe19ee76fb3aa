"""Deployments with their ReplicaSets on a fake API with a fake kubelet."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.controllers import deployment, replicaset
from controlplane.controllers._deployment_sets import REVISION
from controlplane.objects.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from controlplane.objects.meta import get_in, is_true
from controlplane.objects.status import forbidden
from tests.controlplane.controllers.world import World, conditions, until

Object = dict[str, Any]


def make(replicas: int = 3, image: str = "v1", **spec: Any) -> Object:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"metadata": {"name": "web", "namespace": "ns"}, "spec": body}


def rolling(surge: Any, unavailable: Any) -> Object:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def world(**timing: float) -> World:
    return World(deployment, replicaset, **timing)


def found(w: World) -> Object:
    return w.api.find(DEPLOYMENTS, "web", "ns")


def change(w: World, **spec: Any) -> None:
    def apply(obj: Object) -> None:
        obj["spec"].update(spec)
        obj["metadata"]["generation"] += 1

    w.api.change(DEPLOYMENTS, "web", "ns", apply)


def set_image(w: World, image: str) -> None:
    template = found(w)["spec"]["template"]
    change(w, template={**template, "spec": {"containers": [{"name": "main", "image": image}]}})


def is_rolled_out(w: World) -> bool:
    """What `kubectl rollout status` waits for."""
    obj = found(w)
    status, wanted = obj.get("status", {}), obj["spec"]["replicas"]
    return (
        status.get("observedGeneration", 0) >= obj["metadata"]["generation"]
        and status.get("updatedReplicas", 0)
        == status.get("replicas", 0)
        == status.get("availableReplicas", 0)
        == wanted
    )


def images(w: World) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in w.pods()]


async def rolled_out(w: World) -> None:
    await until(lambda: is_rolled_out(w))
    await asyncio.sleep(1)


def test_a_new_deployment_makes_one_set_and_its_pods_and_says_so() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(3))
        await rolled_out(w)
        (owned,) = w.api.all(REPLICA_SETS)
        label = owned["metadata"]["labels"]["pod-template-hash"]
        assert owned["metadata"]["name"] == f"web-{label}"
        assert owned["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": label}
        assert owned["metadata"]["annotations"][REVISION] == "1" == found(w)["metadata"]["annotations"][REVISION]
        assert len(w.pods(app="web", **{"pod-template-hash": label})) == 3
        assert conditions(found(w)) == {
            "Available": ("True", "MinimumReplicasAvailable"),
            "Progressing": ("True", "NewReplicaSetAvailable"),
        }
        assert w.events("ScalingReplicaSet") == [f"Scaled up replica set web-{label} from 0 to 3"]
        status = found(w)["status"]
        assert (status["readyReplicas"], status.get("unavailableReplicas"), status["replicas"]) == (3, None, 3)

    w.run(scenario)


def test_a_settled_deployment_is_not_written_again() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(3))
        await rolled_out(w)
        before = w.api.revision
        await asyncio.sleep(3600)
        assert w.api.revision == before

    w.run(scenario)


@pytest.mark.parametrize(
    ("surge", "unavailable", "most", "least"),
    [("25%", "25%", 5, 3), (1, 0, 5, 4), (0, 1, 4, 3), ("100%", "0%", 8, 4), (0, 0, 4, 3), ("30%", "30%", 6, 3)],
)
def test_a_rolling_update_keeps_between_its_limits(surge: Any, unavailable: Any, most: int, least: int) -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(4, strategy=rolling(surge, unavailable)))
        await rolled_out(w)
        set_image(w, "v2")
        counts: list[tuple[int, int]] = []
        while not is_rolled_out(w):
            alive = w.pods()
            counts.append((len(alive), sum(is_true(pod, "Ready") for pod in alive)))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert max(count for count, _ in counts) <= most
        assert min(ready for _, ready in counts) >= least
        assert images(w) == ["v2"] * 4
        assert sorted(found["spec"]["replicas"] for found in w.api.all(REPLICA_SETS)) == [0, 4]

    w.run(scenario)


def test_undo_goes_back_to_the_old_set_with_a_new_revision() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(2))
        await rolled_out(w)
        (first,) = w.api.all(REPLICA_SETS)
        set_image(w, "v2")
        await rolled_out(w)
        assert found(w)["metadata"]["annotations"][REVISION] == "2"
        set_image(w, "v1")
        await rolled_out(w)
        assert found(w)["metadata"]["annotations"][REVISION] == "3"
        back = w.api.find(REPLICA_SETS, first["metadata"]["name"], "ns")
        assert back["metadata"]["annotations"][REVISION] == "3" and back["spec"]["replicas"] == 2
        assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        assert len(w.api.all(REPLICA_SETS)) == 2 and images(w) == ["v1", "v1"]

    w.run(scenario)


def test_recreate_has_no_two_versions_at_once() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(3, strategy={"type": "Recreate"}))
        await rolled_out(w)
        set_image(w, "v2")
        while not is_rolled_out(w):
            versions = {pod["spec"]["containers"][0]["image"] for pod in w.api.all(PODS)}
            assert len(versions) <= 1, versions
            await asyncio.sleep(0.01)
        assert images(w) == ["v2"] * 3

    w.run(scenario)


def test_scaling_up_and_down_and_to_zero() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(2))
        await rolled_out(w)
        for replicas in (7, 1, 0, 3):
            change(w, replicas=replicas)
            await rolled_out(w)
            assert len(w.pods()) == replicas
        assert len(w.api.all(REPLICA_SETS)) == 1

    w.run(scenario)


def test_a_paused_deployment_scales_but_does_not_roll_and_goes_on_when_resumed() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(2))
        await rolled_out(w)
        change(w, paused=True)
        set_image(w, "v2")
        change(w, replicas=4)
        await asyncio.sleep(10)
        assert images(w) == ["v1"] * 4
        assert conditions(found(w))["Progressing"] == ("Unknown", "DeploymentPaused")
        change(w, paused=False)
        await rolled_out(w)
        assert images(w) == ["v2"] * 4
        assert conditions(found(w))["Progressing"] == ("True", "NewReplicaSetAvailable")

    w.run(scenario)


def test_a_rollout_that_does_not_move_times_out_and_recovers_when_rolled_back() -> None:
    w = world()
    w.broken = lambda pod: pod["spec"]["containers"][0]["image"] == "bad"

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(4, progressDeadlineSeconds=30))
        await rolled_out(w)
        set_image(w, "bad")
        await until(lambda: conditions(found(w))["Progressing"] == ("False", "ProgressDeadlineExceeded"), 40)
        assert conditions(found(w))["Available"] == ("True", "MinimumReplicasAvailable")
        assert sum(is_true(pod, "Ready") for pod in w.pods()) == 3
        set_image(w, "v1")
        await rolled_out(w)
        assert conditions(found(w))["Progressing"] == ("True", "NewReplicaSetAvailable")

    w.run(scenario)


def test_resizing_in_the_middle_of_a_rollout_is_spread_over_the_sets() -> None:
    w = world()
    w.broken = lambda pod: pod["spec"]["containers"][0]["image"] == "bad"

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(10, strategy=rolling(3, 2)))
        await rolled_out(w)
        set_image(w, "bad")
        await asyncio.sleep(20)
        sizes = sorted(found["spec"]["replicas"] for found in w.api.all(REPLICA_SETS))
        assert sizes == [5, 8]
        change(w, replicas=15)
        await asyncio.sleep(20)
        sizes = sorted(found["spec"]["replicas"] for found in w.api.all(REPLICA_SETS))
        assert sizes == [7, 11]  # the example of Kubernetes' documentation

    w.run(scenario)


def test_old_sets_beyond_the_history_limit_go() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(1, revisionHistoryLimit=2))
        for version in range(1, 6):
            set_image(w, f"v{version}")
            await rolled_out(w)
        await asyncio.sleep(5)
        kept = sorted(found["metadata"]["annotations"][REVISION] for found in w.api.all(REPLICA_SETS))
        assert kept == ["3", "4", "5"]

    w.run(scenario)


def test_a_set_of_a_stranger_with_our_name_makes_another_hash() -> None:
    w = world()

    async def scenario(w: World) -> None:
        obj = w.api.put(DEPLOYMENTS, make(2))
        stranger = {
            "metadata": {"name": "x", "namespace": "ns"},
            "spec": {"replicas": 0, "template": {}, "selector": {}},
        }
        await rolled_out(w)
        (owned,) = w.api.all(REPLICA_SETS)
        w.api.remove(DEPLOYMENTS, "web", "ns")
        w.api.remove(REPLICA_SETS, owned["metadata"]["name"], "ns")
        stranger["metadata"]["name"] = owned["metadata"]["name"]
        w.api.put(REPLICA_SETS, stranger)
        w.api.put(DEPLOYMENTS, make(2))
        await rolled_out(w)
        assert found(w)["status"]["collisionCount"] == 1
        assert len(w.api.all(REPLICA_SETS)) == 2
        del obj

    w.run(scenario)


def test_a_quota_is_told_in_the_conditions_of_set_and_deployment() -> None:
    w = world()

    async def scenario(w: World) -> None:
        for _ in range(6):
            w.api.fail_next("create", forbidden(PODS, "web", "exceeded quota"), PODS)
        w.api.put(DEPLOYMENTS, make(2))
        await until(lambda: conditions(found(w)).get("ReplicaFailure") == ("True", "FailedCreate"))
        await rolled_out(w)
        assert "ReplicaFailure" not in conditions(found(w))
        assert w.events("FailedCreate") == ['Error creating: pods "web" is forbidden: exceeded quota']

    w.run(scenario)


def test_pods_that_lose_their_label_are_let_go_and_replaced_and_taken_back_with_it() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(2))
        await rolled_out(w)
        name = w.pods()[0]["metadata"]["name"]
        labels = w.pods()[0]["metadata"]["labels"]
        w.api.change(PODS, name, "ns", lambda obj: obj["metadata"].update(labels={"app": "mine"}))
        await rolled_out(w)
        assert len(w.pods()) == 3
        assert not get_in(w.api.find(PODS, name, "ns"), "metadata", "ownerReferences")
        w.api.change(PODS, name, "ns", lambda obj: obj["metadata"].update(labels=labels))
        await asyncio.sleep(10)
        assert len(w.pods()) == 2

    w.run(scenario)


STEP = st.one_of(
    st.tuples(st.just("image"), st.sampled_from(["v1", "v2", "v3", "bad"])),
    st.tuples(st.just("replicas"), st.integers(0, 8)),
    st.tuples(st.just("paused"), st.booleans()),
    st.tuples(st.just("kill"), st.integers(0, 10)),
    st.tuples(st.just("disconnect"), st.none()),
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(STEP, st.floats(0, 3)), max_size=8), st.sampled_from([(1, 0), (0, 1), ("25%", "25%"), (3, 2)])
)
def test_whatever_is_asked_in_whatever_order_it_comes_to_what_was_asked_last(steps: Any, limits: Any) -> None:
    w = world()
    w.broken = lambda pod: pod["spec"]["containers"][0]["image"] == "bad"

    async def scenario(w: World) -> None:
        w.api.put(DEPLOYMENTS, make(3, strategy=rolling(*limits)))
        for (kind, value), pause in steps:
            if kind == "image":
                set_image(w, value)
            elif kind == "kill" and w.pods():
                w.api.remove(PODS, w.pods()[value % len(w.pods())]["metadata"]["name"], "ns")
            elif kind == "disconnect":
                w.api.disconnect_watches()
            elif kind in ("replicas", "paused"):
                change(w, **{kind: value})
            await asyncio.sleep(pause)
        change(w, paused=False)
        set_image(w, "v9")
        await asyncio.sleep(120)
        assert is_rolled_out(w)
        assert images(w) == ["v9"] * found(w)["spec"]["replicas"]

    w.run(scenario)
