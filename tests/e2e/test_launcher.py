"""`pilothouse up`, `status`, `down` and their refusals."""

import json
import socket

import pytest

from tests.e2e.cluster import Cluster, find_kubectl

pytestmark = pytest.mark.e2e


def test_status_shows_every_process_ready(cluster: Cluster) -> None:
    names = {component.name for component in cluster.plan.components()}
    assert {name for name, item in cluster.status().items() if item["state"] == "ready"} == names
    table = cluster.pilothouse("status").stdout
    assert all(name in table for name in names)


@pytest.mark.parametrize("version", ["1.37", "1.36", "1.34", "1.31", "1.28"])
def test_kubectls_of_several_versions_see_three_ready_nodes(cluster: Cluster, version: str) -> None:
    program = find_kubectl(version)
    if program is None:
        pytest.skip(f"kubectl {version} could not be fetched by make tools")
    answer = json.loads(cluster.kubectl("get", "nodes", "-o", "json", program=program).stdout)
    assert len(answer["items"]) == 3
    assert "Ready" in cluster.kubectl("get", "nodes", program=program).stdout


def test_a_second_up_is_refused_in_one_line(cluster: Cluster) -> None:
    refused = cluster.pilothouse("up", check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "already runs" in refused.stderr


def test_a_port_in_use_is_refused_in_one_line(cluster: Cluster) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        other = str(cluster.data_dir) + "-other"
        refused = cluster.pilothouse(
            "kv", "up", "--members", "1", "--base-port", str(port), "--data-dir", other, check=False
        )
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "is in use" in refused.stderr


@pytest.mark.own_store
def test_an_unknown_component_is_named_with_those_that_exist(cluster: Cluster) -> None:
    refused = cluster.pilothouse("stop", "kv-9", check=False)
    assert refused.returncode == 1
    assert "kv-0" in refused.stderr


@pytest.mark.own_store
def test_logs_and_kubeconfig_are_found(cluster: Cluster) -> None:
    assert cluster.pilothouse("kubeconfig").stdout.strip() == str(cluster.kubeconfig)
    assert cluster.pilothouse("logs", "kv-0", "--tail", "5").stdout.strip()
