"""End what a dead node agent left behind: every process that carries its node's mark in its environment."""

import os
import signal
from pathlib import Path

from controlplane.launcher.state import DataDirectory


def marked_processes(directory: DataDirectory, node: str) -> list[int]:
    """Return pids whose environment says PILOTHOUSE_NODE=node and PILOTHOUSE_CLUSTER=this directory."""
    marks = {f"PILOTHOUSE_NODE={node}".encode(), f"PILOTHOUSE_CLUSTER={directory.path}".encode()}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = set((entry / "environ").read_bytes().split(b"\0"))
        except OSError:
            continue
        if marks <= variables:
            found.append(int(entry.name))
    return found


def end_processes_of_node(directory: DataDirectory, node: str) -> int:
    """Kill them and return how many there were; twice, for what was being forked meanwhile."""
    count = 0
    for _ in range(2):
        for pid in marked_processes(directory, node):
            try:
                os.kill(pid, signal.SIGKILL)
                count += 1
            except ProcessLookupError:
                continue
    return count
