"""One cluster for all end-to-end tests of a run, made as a user makes it."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, default_kubectl, eventually, free_base_port


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kubectl = default_kubectl()
    if kubectl is None:
        pytest.skip("no kubectl: `make tools` could not fetch one")
    made = Cluster(tmp_path_factory.mktemp("cluster") / "state", free_base_port(), kubectl)
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
