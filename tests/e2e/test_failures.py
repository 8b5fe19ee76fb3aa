"""kill -9 of each kind of process: the cluster goes on, nothing acknowledged is lost."""

import time

import pytest

from tests.e2e.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e

MOVE_SECONDS = 5.0


def create_configmap(cluster: Cluster, name: str) -> bool:
    return cluster.kubectl("create", "configmap", name, "--from-literal=a=b", check=False).returncode == 0


@pytest.mark.own_store
def test_the_store_goes_on_without_its_leader(healthy: Cluster) -> None:
    leader = eventually("a leader", healthy.store_leader)
    assert create_configmap(healthy, "before-the-leader-died")
    healthy.kill(leader)
    eventually("a write after the leader's death", lambda: create_configmap(healthy, "after-the-leader-died"), 15)
    assert healthy.get("configmap", "before-the-leader-died")["data"] == {"a": "b"}
    assert eventually("another leader", healthy.store_leader) != leader


def lease_holders(cluster: Cluster) -> dict[str, str]:
    items = cluster.get("leases", "-n", "kube-system")["items"]
    names = ("kube-scheduler", "kube-controller-manager", "cloud-controller-manager")
    return {
        item["metadata"]["name"]: item["spec"].get("holderIdentity") or ""
        for item in items
        if item["metadata"]["name"] in names
    }


def test_elections_move_within_five_seconds_of_a_masters_death(healthy: Cluster) -> None:
    before = eventually(
        "three elections held", lambda: h if len(h := lease_holders(healthy)) == 3 and all(h.values()) else None
    )
    holder = before["kube-scheduler"]
    master = next(name for name in healthy.status() if name.startswith("master-") and name in holder)
    lost = {name for name, who in before.items() if master in who}
    healthy.kill(master)
    died = time.monotonic()
    eventually(
        "every election has another holder",
        lambda: all(master not in who and who for name, who in lease_holders(healthy).items() if name in lost),
        30,
    )
    assert time.monotonic() - died < MOVE_SECONDS + 1.0  # kubectl itself takes its part
    healthy.kubectl("run", "after-the-master", "--image=x", "--command", "--", "sleep", "600")
    healthy.kubectl("wait", "--for=condition=Ready", "pod/after-the-master", "--timeout=30s")
    healthy.kubectl("delete", "pod", "after-the-master", "--grace-period=1")


def test_a_request_fails_at_most_once_when_its_master_dies(healthy: Cluster) -> None:
    healthy.kill("master-1")
    failures = 0
    for _ in range(10):
        failures += healthy.kubectl("get", "namespace", "default", check=False).returncode != 0
    assert failures <= 1


def test_pods_of_a_dead_node_are_replaced_elsewhere(healthy: Cluster) -> None:
    healthy.kubectl("create", "deployment", "mover", "--image=x", "--replicas=6", "--", "sleep", "600")
    healthy.kubectl("rollout", "status", "deployment/mover", "--timeout=60s")
    pods = healthy.ready_pods("app=mover")
    node = pods[0]["spec"]["nodeName"]
    healthy.kill(node)
    eventually(
        "six ready pods on the other nodes",
        lambda: len([p for p in healthy.ready_pods("app=mover") if p["spec"]["nodeName"] != node]) == 6,
        90,
    )
    healthy.kubectl("delete", "deployment", "mover", "--wait=true")
