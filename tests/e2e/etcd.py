"""A real etcd for the time of a test: the newest that `make tools` fetched, or the one on PATH."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import TOOLS, free_base_port


def program() -> str:
    """The path of an etcd; skips the test where there is none."""
    fetched = TOOLS / "etcd-3.5"
    found = str(fetched) if fetched.exists() else shutil.which("etcd")
    if found is None:
        pytest.skip("no etcd: `make tools` could not fetch one, and none is on PATH")
    return found


@contextmanager
def running_etcd(folder: Path) -> Iterator[str]:
    """One member, its data in `folder`; the value is its client URL."""
    port = free_base_port() + 90
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    command = [
        program(), "--data-dir", str(folder / "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
    ]  # fmt: skip
    with (folder / "etcd.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield client
        finally:
            process.terminate()
