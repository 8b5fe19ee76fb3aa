"""One cluster for all end-to-end tests of a run, made as a user makes it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.cluster import Cluster, default_kubectl, eventually, free_base_port
from tests.e2e.etcd import running_etcd

ON_ETCD = "PILOTHOUSE_E2E_ON_ETCD" in os.environ  # make e2e-on-etcd: the same tests, a real etcd as the store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What kills members of our store has nothing to kill on another."""
    if not ON_ETCD:
        return
    for item in items:
        if item.get_closest_marker("own_store"):
            item.add_marker(pytest.mark.skip(reason="is about the members of our own store"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kubectl = default_kubectl()
    if kubectl is None:
        pytest.skip("no kubectl: `make tools` could not fetch one")
    made = Cluster(tmp_path_factory.mktemp("cluster") / "state", free_base_port(), kubectl)
    with ExitStack() as stack:
        if ON_ETCD:
            made.etcd_endpoints = stack.enter_context(running_etcd(tmp_path_factory.mktemp("etcd")))
        made.up()
        try:
            yield made
        finally:
            made.pilothouse("down", check=False)
            left = made.marked_processes()
            assert not left, f"processes left behind: {left}"


@pytest.fixture
def healthy(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with every process that a test killed started again afterwards."""
    yield cluster
    for name, item in cluster.status().items():
        if item["state"] != "ready":
            cluster.pilothouse("start", name, check=False)
    names = {component.name for component in cluster.plan.components()}
    eventually(
        "all processes are ready again",
        lambda: names == {n for n, i in cluster.status().items() if i["state"] == "ready"},
    )
    nodes = {name for name in names if name.startswith("node-")}
    eventually("all nodes are Ready again", lambda: cluster.nodes_ready() >= nodes)
