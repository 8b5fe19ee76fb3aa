"""Client libraries, each in a virtual environment of its own, run what their own documents show."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import TOOLS, Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HERE = Path(__file__).resolve().parent / "clients"
PYTHON = TOOLS / "clients" / "bin" / "python"
NODE_MODULES = TOOLS / "node" / "node_modules"
TIMEOUT_SECONDS = 180
SAID = {
    "with_kubernetes.py": ["deployment", "pod", "dynamic", "leader"],
    "with_kubernetes_asyncio.py": ["watch", "exec", "patch"],
    "with_lightkube.py": ["config maps", "deployment", "generic"],
    "with_kr8s.py": ["kr8s", "pykube"],
    "with_client_node.mjs": ["informer", "exec", "objects"],
}


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own; it goes with what is in it."""
    name = "clients-" + str(abs(hash(request.node.name)) % 10**8)
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--timeout=90s")


def run(cluster: Cluster, command: list[str], folder: Path) -> list[str]:
    environment = {**cluster.environment, "KUBECONFIG": str(cluster.kubeconfig)}
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=folder, timeout=TIMEOUT_SECONDS
    )
    assert finished.returncode == 0, f"{finished.stdout[-500:]}\n{finished.stderr[-3000:]}"
    return finished.stdout.splitlines()


@pytest.mark.parametrize("script", [name for name in SAID if name.endswith(".py")])
def test_a_python_client_does_what_its_documents_show(cluster: Cluster, namespace: str, script: str) -> None:
    if not PYTHON.exists():
        pytest.skip("make tools could not fetch the Python clients")
    said = run(cluster, [str(PYTHON), "-W", "ignore", str(HERE / script), namespace], HERE)
    assert [line for line in said if line in SAID[script]] == SAID[script]


def test_the_node_client_does_what_its_documents_show(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    if not NODE_MODULES.exists():
        pytest.skip("make tools could not fetch @kubernetes/client-node (it needs npm)")
    script = tmp_path / "with_client_node.mjs"
    script.write_text((HERE / script.name).read_text())
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    assert run(cluster, ["node", str(script), namespace], tmp_path) == SAID[script.name]
