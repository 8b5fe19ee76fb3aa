"""`down` and `up`: everything is still there, and `down` leaves no process."""

import pytest

from tests.e2e.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e


def test_everything_is_there_after_down_and_up(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "kept")
    cluster.kubectl("create", "deployment", "kept", "-n", "kept", "--image=x", "--replicas=2", "--", "sleep", "600")
    cluster.kubectl("rollout", "status", "deployment/kept", "-n", "kept", "--timeout=60s")
    before = cluster.get("deployment", "kept", "-n", "kept")["metadata"]["uid"]
    cluster.pilothouse("down")
    assert not cluster.marked_processes()
    cluster.pilothouse("up")
    assert cluster.get("deployment", "kept", "-n", "kept")["metadata"]["uid"] == before
    eventually(
        "its pods run again",
        lambda: cluster.get("deployment", "kept", "-n", "kept")["status"].get("readyReplicas") == 2,
        60,
    )
    cluster.kubectl("delete", "namespace", "kept", "--wait=true", "--timeout=60s")
