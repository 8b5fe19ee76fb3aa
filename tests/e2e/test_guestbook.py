"""The example, as its README tells it: applied, read over HTTP, scaled, rolled, undone, looked into, mended."""

import re
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, eventually, fetch, find_kubectl

pytestmark = pytest.mark.e2e

EXAMPLE = "examples/guestbook/"


def address_of_front(cluster: Cluster) -> str:
    def look() -> str | None:
        ingress = cluster.get("service", "front").get("status", {}).get("loadBalancer", {}).get("ingress")
        return f"http://{ingress[0]['ip']}:8080/" if ingress else None

    return eventually("an address of the load balancer", look)


@pytest.fixture(scope="module", params=["1.37", "1.28"])
def guestbook(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The guestbook, applied and deleted by kubectls of two ages."""
    program = find_kubectl(request.param)
    if program is None:
        pytest.skip(f"kubectl {request.param} could not be fetched by make tools")
    cluster.kubectl("apply", "-f", EXAMPLE, program=program)
    for deployment in ("backend", "front"):
        cluster.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=60s", program=program)
    cluster.kubectl("wait", "--for=condition=complete", "job/seed", "--timeout=60s", program=program)
    yield cluster
    cluster.kubectl("delete", "-f", EXAMPLE, "--ignore-not-found", "--timeout=60s", program=program)
    eventually("all its pods are gone", lambda: not cluster.get("pods", "-l", "app=guestbook")["items"])


def entries(page: str) -> int:
    found = re.search(r"(\d+) entries", page)
    assert found, page[:500]
    return int(found[1])


def test_the_page_is_served_and_keeps_what_is_written(guestbook: Cluster) -> None:
    url = address_of_front(guestbook)
    before = entries(eventually("the page", lambda: fetch(url)))
    fetch(url, b"name=e2e&text=hello")
    assert entries(fetch(url)) == before + 1


def test_applying_again_changes_nothing(guestbook: Cluster) -> None:
    lines = guestbook.kubectl("apply", "-f", EXAMPLE).stdout.strip().splitlines()
    said = {line.partition(" ")[0]: line.rpartition(" ")[2] for line in lines}
    # A Secret's stringData is never read back, so every kubectl sends it again, here as on any Kubernetes.
    assert said.pop("secret/guestbook") == "configured"
    assert set(said.values()) == {"unchanged"}, lines


def test_a_clusters_own_address_and_every_node_lead_to_the_service(guestbook: Cluster) -> None:
    service = guestbook.get("service", "front")
    cluster_ip, node_port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    assert "entries" in eventually("the ClusterIP", lambda: fetch(f"http://{cluster_ip}:8080/"))
    for index in range(3):
        url = f"http://{guestbook.plan.node_address(index)}:{node_port}/"
        assert "entries" in eventually("the NodePort", lambda url=url: fetch(url))


def test_scaling_rolling_and_undoing(guestbook: Cluster) -> None:
    guestbook.kubectl("delete", "hpa", "front")
    guestbook.kubectl("scale", "deployment/front", "--replicas=4")
    guestbook.kubectl("rollout", "status", "deployment/front", "--timeout=60s")
    assert len(guestbook.ready_pods("tier=front")) == 4
    guestbook.kubectl("set", "env", "deployment/front", "TITLE=Second edition")
    guestbook.kubectl("rollout", "status", "deployment/front", "--timeout=60s")
    url = address_of_front(guestbook)
    eventually("the new version", lambda: "Second edition" in fetch(url))
    assert "2" in guestbook.kubectl("rollout", "history", "deployment/front").stdout
    guestbook.kubectl("rollout", "undo", "deployment/front")
    guestbook.kubectl("rollout", "status", "deployment/front", "--timeout=60s")
    eventually("the old version", lambda: "Second edition" not in fetch(url))


def test_logs_and_describe_tell_what_happened(guestbook: Cluster) -> None:
    assert "entries" in guestbook.kubectl("logs", "job/seed").stdout
    described = guestbook.kubectl("describe", "pod", "-l", "tier=backend").stdout
    assert "Successfully assigned" in described
    assert "Started container backend" in described


def test_a_deleted_pod_is_replaced(guestbook: Cluster) -> None:
    name = guestbook.ready_pods("tier=backend")[0]["metadata"]["name"]
    guestbook.kubectl("delete", "pod", name)
    replaced = eventually("another backend", lambda: guestbook.ready_pods("tier=backend"))
    assert replaced[0]["metadata"]["name"] != name


def test_explain_and_table_columns(guestbook: Cluster) -> None:
    assert "restartPolicy" in guestbook.kubectl("explain", "pod.spec").stdout
    assert "READY" in guestbook.kubectl("get", "deployments").stdout
    assert "NOMINATED NODE" in guestbook.kubectl("get", "pods", "-o", "wide").stdout


BAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  replicas: many
  template:
    spec: {containers: [{name: c, image: x, colour: red}]}
"""


def test_a_bad_manifest_is_refused_with_the_paths_of_its_fields(cluster: Cluster) -> None:
    refused = cluster.kubectl("apply", "-f", "-", stdin=BAD, check=False)
    assert refused.returncode == 1
    assert "colour" in refused.stderr or "replicas" in refused.stderr, refused.stderr
    selectorless = BAD.replace("many", "1").replace(", colour: red", "")
    refused = cluster.kubectl("apply", "-f", "-", stdin=selectorless, check=False)
    assert "spec.selector" in refused.stderr, refused.stderr


def test_a_pod_that_fits_nowhere_says_why(cluster: Cluster) -> None:
    limits = (
        '{"spec":{"containers":[{"name":"big","image":"x","command":["true"],"resources":{"requests":{"cpu":"500"}}}]}}'
    )
    cluster.kubectl("run", "big", "--image=x", f"--overrides={limits}")
    described = eventually(
        "the scheduler's reason",
        lambda: text if "nodes are available" in (text := cluster.kubectl("describe", "pod", "big").stdout) else None,
    )
    assert "0/3 nodes are available: 3 Insufficient cpu" in described
    cluster.kubectl("delete", "pod", "big")


def test_an_image_without_a_program_says_what_to_do(cluster: Cluster) -> None:
    cluster.kubectl("run", "imageless", "--image=nginx")
    described = eventually(
        "what the node says",
        lambda: text if "command" in (text := cluster.kubectl("describe", "pod", "imageless").stdout) else None,
    )
    assert "ImagePullBackOff" in described or "ErrImagePull" in described
    cluster.kubectl("delete", "pod", "imageless")
