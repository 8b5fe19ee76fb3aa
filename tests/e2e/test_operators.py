"""An operator made with kopf, its definition, its webhooks; helm with a chart that brings one; the Python client."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.apiserver.pki import Authority
from tests.e2e.cluster import ROOT, TOOLS, Cluster, eventually

pytestmark = pytest.mark.e2e

HERE = Path(__file__).resolve().parent / "operators"
SHOP = """
apiVersion: example.com/v1
kind: WebApp
metadata: {name: shop}
spec: {image: busybox, replicas: 2}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def webapps(cluster: Cluster) -> Iterator[Cluster]:
    """The definition; it goes with all its objects."""
    cluster.kubectl("apply", "-f", str(HERE / "webapps.yaml"))
    cluster.kubectl("wait", "--for=condition=established", "crd/webapps.example.com", "--timeout=10s")
    yield cluster
    cluster.kubectl("delete", "-f", str(HERE / "webapps.yaml"), "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def operator(webapps: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """The operator, running."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("webhook", "webhook", server=True)
    environment = {
        **os.environ,
        "KUBECONFIG": str(webapps.kubeconfig),
        "WEBHOOK_PORT": str(free_port()),
        "WEBHOOK_CERTIFICATE": str(certificate),
        "WEBHOOK_KEY": str(key),
        "WEBHOOK_AUTHORITY": str(authority.path),
    }
    program = [str(Path(sys.executable).with_name("kopf")), "run", "--standalone", "-A", str(HERE / "web_operator.py")]
    log = tmp_path / "operator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(program, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(
            "the operator has registered its webhooks",
            lambda: webapps.get("mutatingwebhookconfigurations,validatingwebhookconfigurations")["items"][1:],
        )
        yield webapps
    except AssertionError:
        print(log.read_text()[-5000:])
        raise
    finally:
        webapps.kubectl("delete", "webapps", "--all", "--timeout=30s", check=False)
        process.terminate()
        process.wait(timeout=20)
        for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            webapps.kubectl("delete", kind, "auto.kopf.dev", "--ignore-not-found")


def test_an_operator_brings_a_deployment_up_scales_it_and_takes_it_down(operator: Cluster) -> None:
    operator.kubectl("apply", "-f", "-", stdin=SHOP)
    made: dict[str, Any] = operator.get("webapp", "shop")
    assert made["metadata"]["labels"] == {"judged": "yes"}, "the mutating webhook"
    eventually("two pods are ready", lambda: len(operator.ready_pods("app=shop")) == 2)

    refused = operator.kubectl(
        "patch", "wa", "shop", "--type=merge", "-p", '{"spec":{"image":"forbidden"}}', check=False
    )
    assert "denied the request: this image is forbidden" in refused.stderr
    warned = operator.kubectl("patch", "wa", "shop", "--type=merge", "-p", '{"spec":{"replicas":4}}')
    assert "Warning: that is a lot" in warned.stderr
    eventually("four pods are ready", lambda: len(operator.ready_pods("app=shop")) == 4)

    operator.kubectl("delete", "wa", "shop", "--timeout=30s")
    eventually("what it owned is collected", lambda: not operator.get("deployments,pods", "-l", "app=shop")["items"])


def test_a_namespace_takes_its_custom_objects_along(webapps: Cluster) -> None:
    webapps.kubectl("create", "namespace", "apps")
    webapps.kubectl("apply", "-n", "apps", "-f", "-", stdin=SHOP)
    webapps.kubectl("delete", "namespace", "apps", "--timeout=60s")
    assert webapps.get("webapps", "-A")["items"] == []


def test_kubectl_explains_validates_and_prints_a_custom_kind(webapps: Cluster) -> None:
    assert "What to run." in webapps.kubectl("explain", "webapp.spec.image").stdout
    wrong = webapps.kubectl("apply", "-f", "-", stdin=SHOP.replace("replicas", "replica"), check=False)
    assert 'unknown field "spec.replica"' in wrong.stderr
    webapps.kubectl("apply", "--server-side", "-f", "-", stdin=SHOP)
    assert webapps.kubectl("get", "wa").stdout.split() == ["NAME", "IMAGE", "REPLICAS", "shop", "busybox", "2"]
    assert "webapp.example.com/shop" in webapps.kubectl("get", "all").stdout


@pytest.mark.parametrize("beside", ["1.28", pytest.param("1.31", marks=pytest.mark.slow), "1.34"])
def test_helm_3_and_4_install_a_chart_that_brings_a_definition(cluster: Cluster, tmp_path: Path, beside: str) -> None:
    helm = TOOLS / f"helm-with-{beside}"
    if not helm.exists():
        pytest.skip("make tools could not fetch helm")
    chart = tmp_path / "shop"
    (chart / "crds").mkdir(parents=True)
    (chart / "templates").mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.1.0\n")
    (chart / "crds" / "webapps.yaml").write_text((HERE / "webapps.yaml").read_text())
    (chart / "templates" / "shop.yaml").write_text(SHOP.replace("name: shop", "name: {{ .Release.Name }}"))
    kubeconfig = ("--kubeconfig", str(cluster.kubeconfig))
    try:
        cluster.run([str(helm), "install", "corner", str(chart), *kubeconfig], check=True)
        assert cluster.get("webapp", "corner")["spec"] == {"image": "busybox", "replicas": 2}
        cluster.run([str(helm), "upgrade", "corner", str(chart), "--set", "x=1", *kubeconfig], check=True)
        listed = cluster.run([str(helm), "history", "corner", *kubeconfig], check=True).stdout
        assert "superseded" in listed and "deployed" in listed
        cluster.run([str(helm), "rollback", "corner", "1", "--wait", *kubeconfig], check=True)
        cluster.run([str(helm), "uninstall", "corner", *kubeconfig], check=True)
        assert cluster.get("webapps")["items"] == []
    finally:
        cluster.kubectl("delete", "crd", "webapps.example.com", "--ignore-not-found", "--timeout=60s")


PYTHON_CLIENT = """
from kubernetes import client, config, watch
config.load_kube_config()
api = client.CustomObjectsApi()
where = ("example.com", "v1", "default", "webapps")
body = {"apiVersion": "example.com/v1", "kind": "WebApp", "metadata": {"name": "py"}, "spec": {"image": "a"}}
api.create_namespaced_custom_object(*where, body)
api.patch_namespaced_custom_object(*where, "py", {"spec": {"replicas": 3}})
api.patch_namespaced_custom_object_status(*where, "py", {"status": {"replicas": 3}})
print(api.get_namespaced_custom_object_scale(*where, "py")["spec"]["replicas"])
for event in watch.Watch().stream(api.list_namespaced_custom_object, *where, timeout_seconds=5):
    print(event["type"], event["object"]["spec"])
    break
api.delete_namespaced_custom_object(*where, "py")
print(len(api.list_namespaced_custom_object(*where)["items"]))
"""


def test_the_python_client_handles_custom_objects(webapps: Cluster) -> None:
    environment = {**os.environ, "KUBECONFIG": str(webapps.kubeconfig)}
    finished = subprocess.run(
        [sys.executable, "-c", PYTHON_CLIENT], env=environment, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert finished.stdout.splitlines() == ["3", "ADDED {'image': 'a', 'replicas': 3}", "0"]
