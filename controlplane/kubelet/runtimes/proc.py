"""What /proc says about processes: who belongs to a container, and what they use.  See proc(5)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """One process as /proc/PID/stat shows it. CPU covers its reaped children too."""

    pid: int
    parent: int
    session: int
    cpu_seconds: float
    memory_bytes: int


def read_process(pid: int) -> ProcessEntry | None:
    """None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    ticks = sum(int(fields[i]) for i in (11, 12, 13, 14))
    return ProcessEntry(
        pid, int(fields[1]), int(fields[3]), ticks / TICKS_PER_SECOND, max(int(fields[21]), 0) * PAGE_BYTES
    )


def all_pids() -> Iterator[int]:
    """Every process that /proc shows."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def members(leaders: Iterable[int]) -> Mapping[int, list[ProcessEntry]]:
    """Per session leader: the processes of its session and their descendants, all from one pass over /proc."""
    wanted = {leader: [] for leader in leaders}  # type: dict[int, list[ProcessEntry]]
    if not wanted:
        return wanted
    entries = {entry.pid: entry for pid in all_pids() if (entry := read_process(pid)) is not None}
    for entry in entries.values():
        seen: ProcessEntry | None = entry
        while seen is not None and seen.session not in wanted:
            seen = entries.get(seen.parent)
        if seen is not None:
            wanted[seen.session].append(entry)
    return wanted


def family(leader: int) -> list[ProcessEntry]:
    """A process and its descendants, by /proc/PID/task/*/children: cheaper than `members` for one container."""
    found: list[ProcessEntry] = []
    todo = [leader]
    while todo:
        pid = todo.pop()
        entry = read_process(pid)
        if entry is None:
            continue
        found.append(entry)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    todo.extend(int(child) for child in file.read().split())
        except OSError:
            continue  # it is gone, or the kernel was built without CONFIG_PROC_CHILDREN
    return found


def marked(*markers: str) -> list[int]:
    """Processes whose environment has every one of the given `NAME=value` entries, ourselves excepted."""
    wanted = [b"\0" + os.fsencode(marker) + b"\0" for marker in markers]
    found = []
    for pid in all_pids():
        if pid == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = b"\0" + file.read() + b"\0"
        except OSError:
            continue
        if all(marker in environment for marker in wanted):
            found.append(pid)
    return found


def kill_all(pids: Iterable[int]) -> int:
    """SIGKILL each; how many were there."""
    count = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            count += 1
        except (ProcessLookupError, PermissionError):
            continue
    return count


def leftovers(containers: Mapping[int, str]) -> list[int]:
    """What ended containers left running: by session (the first process's id) or by the marker of the container's id.

    One pass over /proc for any number of containers; `containers` maps first processes to container ids.
    """
    identities = {os.fsencode(identity) for identity in containers.values()}
    found = []
    for pid in all_pids():
        if pid in containers or pid == os.getpid():
            continue
        entry = read_process(pid)
        if entry is not None and (entry.session in containers or _container_of(pid) in identities):
            found.append(pid)
    return found


def _container_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = b"\0" + file.read()
    except OSError:
        return b""
    return environment.partition(b"\0PILOTHOUSE_CONTAINER_ID=")[2].partition(b"\0")[0]
