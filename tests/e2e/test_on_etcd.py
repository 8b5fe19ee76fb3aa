"""The same control plane on a real etcd: storage is any etcd v3 cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, default_kubectl, eventually, free_base_port
from tests.e2e.etcd import running_etcd

pytestmark = pytest.mark.e2e


@pytest.fixture
def etcd_endpoint(tmp_path: Path) -> Iterator[str]:
    """One real etcd, for the time of a test."""
    with running_etcd(tmp_path) as endpoint:
        yield endpoint


def test_a_cluster_on_etcd_runs_keeps_and_finds_its_objects(tmp_path: Path, etcd_endpoint: str) -> None:
    kubectl = default_kubectl()
    if kubectl is None:
        pytest.skip("no kubectl: `make tools` could not fetch one")
    cluster = Cluster(tmp_path / "state", free_base_port(), kubectl)
    try:
        cluster.up("--masters", "2", "--nodes", "1", "--etcd-endpoints", etcd_endpoint)
        assert not any(name.startswith("kv-") for name in cluster.status())
        cluster.kubectl("create", "deployment", "web", "--image=x", "--replicas=2", "--", "sleep", "600")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        cluster.kubectl("set", "env", "deployment/web", "A=b")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        cluster.pilothouse("down")
        cluster.pilothouse("up")
        eventually("its pods run again", lambda: len(cluster.ready_pods("app=web")) == 2)
        cluster.kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")
        eventually("its pods are gone", lambda: not cluster.get("pods", "-l", "app=web")["items"])
    finally:
        cluster.pilothouse("down", check=False)
    assert not cluster.marked_processes()
