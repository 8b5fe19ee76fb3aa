"""A real cluster of real processes, driven through `pilothouse` and real kubectls as a user drives them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from controlplane.launcher.plan import Plan
from controlplane.launcher.start import check_addresses
from controlplane.launcher.state import LauncherError

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv" / "tools"
PROGRAM = str(Path(sys.executable).with_name("pilothouse"))
COMMAND_TIMEOUT_SECONDS = 120
POLL_SECONDS = 0.1

T = TypeVar("T")


def free_base_port() -> int:
    """Return a base port whose whole plan is free now."""
    for port in range(20000 + os.getpid() % 1000 * 7, 60000, 101):
        try:
            check_addresses(Plan(base_port=port))
        except LauncherError:
            continue
        return port
    raise AssertionError("no free ports")


def find_kubectl(version: str) -> str | None:
    """Return the path of a kubectl that `make tools` fetched, or None."""
    path = TOOLS / f"kubectl-{version}"
    return str(path) if path.exists() else None


def default_kubectl() -> str | None:
    beside_us = str(Path(sys.executable).parent)
    return find_kubectl("1.37") or shutil.which("kubectl", path=beside_us) or shutil.which("kubectl")


def eventually(what: str, look: Callable[[], T | None], timeout_seconds: float = 60.0) -> T:
    """Return the first truthy answer of `look`; fail with what it said last when time runs out."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        said: object
        try:
            said = look()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            said = error
        else:
            if said:
                return said
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout_seconds:.0f} s: {what}; last: {said}")
        time.sleep(POLL_SECONDS)


@dataclass
class Cluster:
    """One cluster in one data directory."""

    data_dir: Path
    base_port: int
    kubectl_program: str
    environment: dict[str, str] = field(default_factory=dict)
    etcd_endpoints: str = ""  # empty: a store of our own

    def __post_init__(self) -> None:
        home = self.data_dir.parent / "home"
        home.mkdir(exist_ok=True)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PILOTHOUSE_", "KUBE"))}
        self.environment = {**clean, "HOME": str(home), "PILOTHOUSE_DATA_DIR": str(self.data_dir)}

    def pilothouse(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run([PROGRAM, *arguments], check=check)

    def kubectl(
        self, *arguments: str, check: bool = True, program: str = "", stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [program or self.kubectl_program, "--kubeconfig", str(self.kubeconfig), *arguments]
        return self.run(command, check=check, stdin=stdin)

    def run(self, command: list[str], *, check: bool, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=self.environment,
            input=stdin,
            timeout=COMMAND_TIMEOUT_SECONDS,
            cwd=ROOT,
        )
        if check and finished.returncode:
            raise AssertionError(
                f"{' '.join(command)} exited with {finished.returncode}\n{finished.stdout}\n{finished.stderr}"
            )
        return finished

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        store = ("--etcd-endpoints", self.etcd_endpoints) if self.etcd_endpoints else ()
        return self.pilothouse("up", "--base-port", str(self.base_port), *store, *options)

    @property
    def plan(self) -> Plan:
        return Plan(base_port=self.base_port, etcd_endpoints=self.etcd_endpoints)

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig" / "admin.conf"

    def get(self, *arguments: str) -> Any:
        """Return `kubectl get ... -o json`, decoded."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the processes of `pilothouse status --output json` by name."""
        document = json.loads(self.pilothouse("status", "--output", "json", check=False).stdout)
        return {item["name"]: item for item in document["processes"]}

    def kill(self, name: str) -> None:
        """kill -9 one process of the cluster, by its pid."""
        os.kill(self.status()[name]["pid"], signal.SIGKILL)

    def members(self) -> Iterator[tuple[str, str]]:
        for index, endpoint in enumerate(self.plan.store_endpoints):
            yield f"kv-{index}", endpoint

    def store_leader(self) -> str | None:
        """Return the name of the member that leads, as the members' own Status calls tell."""
        import grpc

        from kvstore.pb import rpc_pb2

        folder = self.data_dir / "pki" / "etcd"
        files = [(folder / name).read_bytes() for name in ("ca.crt", "admin.key", "admin.crt")]
        credentials = grpc.ssl_channel_credentials(*files)
        for name, endpoint in self.members():
            with grpc.secure_channel(endpoint.removeprefix("https://"), credentials) as channel:
                call = channel.unary_unary(
                    "/etcdserverpb.Maintenance/Status",
                    request_serializer=rpc_pb2.StatusRequest.SerializeToString,
                    response_deserializer=rpc_pb2.StatusResponse.FromString,
                )
                try:
                    answer = call(rpc_pb2.StatusRequest(), timeout=2)
                except grpc.RpcError:
                    continue
            if answer.leader == answer.header.member_id:
                return name
        return None

    def ready_pods(self, selector: str) -> list[dict[str, Any]]:
        pods = self.get("pods", "-l", selector)["items"]
        return [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]

    def nodes_ready(self) -> set[str]:
        return {node["metadata"]["name"] for node in self.get("nodes")["items"] if is_ready(node)}

    def marked_processes(self) -> list[int]:
        """Return every process of this machine whose command line or environment names this cluster's directory."""
        mark = str(self.data_dir).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                    link = os.readlink(entry / "cwd").encode()
                except OSError:
                    continue
                if mark in text or mark in link:
                    found.append(int(entry.name))
        return found


def is_ready(item: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", []))


def fetch(url: str, data: bytes | None = None, timeout_seconds: float = 5.0) -> str:
    """Return the body of an HTTP answer; any failure is an OSError."""
    with urllib.request.urlopen(url, data=data, timeout=timeout_seconds) as answer:
        return str(answer.read().decode())
