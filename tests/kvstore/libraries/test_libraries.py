"""Client libraries of etcd that others wrote see no difference between a real etcd and us: one scenario each, run on both."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kvstore.api.processes import ROOT, Process, free_ports, running_etcd
from tests.kvstore.client.conftest import PROGRAMS
from tests.libraries import library_command

TOOLS = ROOT / ".venv" / "tools"
ETCD_35 = TOOLS / "etcd-3.5"
SCENARIOS = Path(__file__).with_name("scenarios")

SCRIPTS = {
    "etcd3": "etcd3_scenario.py",
    "aetcd": "aetcd_scenario.py",
    "etcd3gw": "etcd3gw_scenario.py",
    "etcd3-py": "etcd3_py_scenario.py",
    "npm-etcd3": "npm_etcd3_scenario.cjs",
    "grpc-checks": "grpc_scenario.py",
}
OF_ETCD = [name for name in SCRIPTS if name != "grpc-checks"]  # etcd has no reflection


@contextmanager
def running_ours(directory: Path, *flags: str) -> Iterator[str]:
    """One member under the name that the real one has."""
    client, peer = free_ports(2)
    client_url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    process = Process(
        [*PROGRAMS["pilothouse"], "--name=real", f"--data-dir={directory / 'ours'}", f"--listen-client-urls={client_url}",
         f"--advertise-client-urls={client_url}", f"--listen-peer-urls={peer_url}",
         f"--initial-advertise-peer-urls={peer_url}", f"--initial-cluster=real={peer_url}", *flags],
        directory / "ours.log",
        "ready to serve client requests",
    )  # fmt: skip
    process.start()
    try:
        process.wait_ready()
        yield f"127.0.0.1:{client}"
    finally:
        process.end()


def play(library: str, endpoint: str) -> dict[str, Any]:
    """The outcomes of a library's scenario, step by step, without the addresses."""
    command, extra = library_command(library, TOOLS, SCENARIOS / SCRIPTS[library])
    environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}
    done = subprocess.run(
        [*command, *endpoint.split(":")], env=environment | extra, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, f"{library} on {endpoint}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1].replace(endpoint, "ENDPOINT"))
    return seen


@pytest.mark.parametrize("library", OF_ETCD)
def test_a_library_sees_what_it_sees_of_etcd(library: str, tmp_path: Path) -> None:
    if not (TOOLS / f"library-{library}").exists():
        pytest.skip(f"{library} could not be fetched (make tools)")
    if not ETCD_35.exists():
        pytest.skip("etcd 3.5 could not be fetched (make tools)")
    with running_etcd(tmp_path, program=str(ETCD_35)) as endpoint:
        theirs = play(library, endpoint)
    with running_ours(tmp_path) as endpoint:
        ours = play(library, endpoint)
    assert len(theirs) > 10
    assert list(ours) == list(theirs)
    assert {step: ours[step] for step in ours if ours[step] != theirs[step]} == {
        step: theirs[step] for step in ours if ours[step] != theirs[step]
    }


def test_grpcs_own_reflection_and_health_clients_need_none_of_our_files(tmp_path: Path) -> None:
    if not (TOOLS / "library-grpc-checks").exists():
        pytest.skip("grpcio-reflection could not be fetched (make tools)")
    with running_ours(tmp_path) as endpoint:
        seen = play("grpc-checks", endpoint)
    assert {"etcdserverpb.KV", "v3lockpb.Lock", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} < set(
        seen["services"]
    )
    assert (seen["put"], seen["range"]) == (2, ["1"])
    assert "DeleteRange" in seen["every method"]["etcdserverpb.KV"]
    assert seen["unknown symbol"][0] == "KeyError"
    serving, unknown_service = 1, 3
    assert (seen["check"], seen["watch"], seen["watch of what is unknown"]) == (serving, serving, unknown_service)
    assert seen["check of what is unknown"] == ["_InactiveRpcError", "unknown service"]
