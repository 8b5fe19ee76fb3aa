"""Snapshots between us and real etcds, in both directions: the data, its history, revisions, leases, users come out equal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kvstore.api.processes import ETCD, ETCDCTL, ROOT, Process, free_ports

TOOLS = ROOT / ".venv" / "tools"


@dataclass(frozen=True)
class Release:
    """One version of etcd and what restores its snapshots."""

    name: str
    server: str
    restorer: str
    ready_text: str

    @property
    def is_here(self) -> bool:
        return Path(self.server).exists() and Path(self.restorer).exists() and Path(ETCDCTL).exists()


RELEASES = [
    Release("3.4", ETCD, ETCDCTL, "ready to serve client requests"),
    Release("3.5", str(TOOLS / "etcd-3.5"), str(TOOLS / "etcdutl-3.5"), "serving client traffic insecurely"),
]
every_release = pytest.mark.parametrize(
    "release",
    [
        pytest.param(one, id=one.name, marks=pytest.mark.skipif(not one.is_here, reason=f"etcd {one.name}: make tools"))
        for one in RELEASES
    ],
)


def run(*arguments: str) -> str:
    result = subprocess.run(
        arguments, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def control(endpoint: str, *arguments: str) -> str:
    return run(ETCDCTL, "--endpoints", endpoint, *arguments)


@contextmanager
def serving(program: list[str], directory: Path, ready_text: str, *flags: str) -> Iterator[str]:
    """Run one server on `directory`; yield its endpoint."""
    client, peer = free_ports(2)
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    arguments = [
        *program, "--name=one", f"--data-dir={directory}", f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}", *flags,
    ]  # fmt: skip
    process = Process(arguments, directory.with_suffix(".log"), ready_text)
    process.start()
    try:
        process.wait_ready()
        yield f"127.0.0.1:{client}"
    finally:
        process.end()


OURS = [sys.executable, "-m", "kvstore.command"]
OURS_READY = "ready to serve client requests"
CLUSTER = ["--initial-cluster=one=http://127.0.0.1:1", "--initial-advertise-peer-urls=http://127.0.0.1:1"]
RESTORE_FLAGS = ["--name=one", *CLUSTER]


def populate(endpoint: str) -> None:
    for number in range(1, 9):
        control(endpoint, "put", f"key{number}", f"value{number}")
    control(endpoint, "put", "key1", "again")
    control(endpoint, "del", "key2")
    control(endpoint, "compact", "10")
    lease = control(endpoint, "lease", "grant", "5000").split()[1]
    control(endpoint, "put", f"--lease={lease}", "leased", "x" * 20_000)
    control(endpoint, "put", "key3", "three")
    control(endpoint, "del", "key4")
    control(endpoint, "put", "key4", "back")
    control(endpoint, "user", "add", "alice:secret")
    control(endpoint, "role", "add", "reader")
    control(endpoint, "role", "grant-permission", "reader", "read", "a", "b")
    control(endpoint, "user", "grant-role", "alice", "reader")


def portrait(endpoint: str) -> dict[str, Any]:
    """What a client can see."""
    now = json.loads(control(endpoint, "get", "", "--prefix", "-w", "json"))
    leases = control(endpoint, "lease", "list").split()[3:]
    past = json.loads(control(endpoint, "get", "", "--prefix", "--rev=10", "-w", "json"))
    return {
        "now": now["kvs"],
        "revision": now["header"]["revision"],
        "past": past["kvs"],
        "leases": leases,
        "granted": [
            control(endpoint, "lease", "timetolive", lease, "--keys").split("granted with TTL")[1].split("remaining")[0]
            for lease in leases
        ],
        "attached": [control(endpoint, "lease", "timetolive", lease, "--keys").split("keys")[1] for lease in leases],
        "users": control(endpoint, "user", "get", "alice"),
        "roles": control(endpoint, "role", "get", "reader"),
    }


def save(endpoint: str, file: Path, revision: int) -> None:
    control(endpoint, "snapshot", "save", str(file))
    assert json.loads(run(ETCDCTL, "snapshot", "status", str(file), "-w", "json"))["revision"] == revision


def restore_into_ours(file: Path, directory: Path, *flags: str) -> None:
    run(sys.executable, "-m", "kvstore.restore_command", str(file), f"--data-dir={directory}", *RESTORE_FLAGS, *flags)


@every_release
def test_our_snapshot_is_restored_by_etcd(release: Release, tmp_path: Path) -> None:
    with serving(OURS, tmp_path / "ours", OURS_READY, *CLUSTER) as endpoint:
        populate(endpoint)
        before = portrait(endpoint)
        save(endpoint, tmp_path / "file", before["revision"])
    run(release.restorer, "snapshot", "restore", str(tmp_path / "file"), f"--data-dir={tmp_path / 'etcd'}", *RESTORE_FLAGS)
    with serving([release.server], tmp_path / "etcd", release.ready_text, *CLUSTER) as endpoint:
        assert portrait(endpoint) == before
        control(endpoint, "put", "life", "goes on")
        assert portrait(endpoint)["revision"] == before["revision"] + 1


@every_release
def test_a_snapshot_of_etcd_is_restored_by_us(release: Release, tmp_path: Path) -> None:
    with serving([release.server], tmp_path / "etcd", release.ready_text, *CLUSTER) as endpoint:
        populate(endpoint)
        before = portrait(endpoint)
        save(endpoint, tmp_path / "file", before["revision"])
    restore_into_ours(tmp_path / "file", tmp_path / "ours", "--bump-revision=0")
    with serving(OURS, tmp_path / "ours", OURS_READY, *CLUSTER) as endpoint:
        assert portrait(endpoint) == before
        control(endpoint, "put", "life", "goes on")
        assert portrait(endpoint)["revision"] == before["revision"] + 1
        save(endpoint, tmp_path / "again", before["revision"] + 1)


@pytest.mark.slow
@every_release
def test_by_default_no_client_of_the_old_cluster_sees_revisions_go_back(release: Release, tmp_path: Path) -> None:
    with serving([release.server], tmp_path / "etcd", release.ready_text, *CLUSTER) as endpoint:
        populate(endpoint)
        before = portrait(endpoint)
        save(endpoint, tmp_path / "file", before["revision"])
        control(endpoint, "put", "lost", "after the snapshot")
    restore_into_ours(tmp_path / "file", tmp_path / "ours")
    with serving(OURS, tmp_path / "ours", OURS_READY, *CLUSTER) as endpoint:
        now = json.loads(control(endpoint, "get", "", "--prefix", "-w", "json"))
        assert now["header"]["revision"] == before["revision"] + 1_000_000_000
        assert now["kvs"] == before["now"]
        with pytest.raises(AssertionError, match="required revision has been compacted"):
            control(endpoint, "get", "key1", f"--rev={before['revision'] + 1}")
