"""Where a pod's processes listen: pods share the host's network, so a port must be looked for among the pod's own sockets.

First the pod's own address (which no other pod has), then an unspecified address (dialled through the pod's address), then
loopback. The last two count only when a process of the pod holds the socket; another pod's port is never dialled. See proc(5).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Iterator
from typing import Final

LISTENING: Final = "0A"
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


def parse_table(text: str, port: int) -> Iterator[tuple[str, str]]:
    """(address, inode) of the sockets of /proc/net/tcp or tcp6 that listen on `port`."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != LISTENING:
            continue
        host, _, number = fields[1].partition(":")
        if int(number, 16) == port:
            yield _address(host), fields[9]


def _address(digits: str) -> str:
    """The kernel prints an address as 32-bit numbers of its own byte order (little, on every machine we run on)."""
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def sockets_of(pids: Iterable[int]) -> set[str]:
    """The inodes of the sockets that these processes have open."""
    found = set()
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(f"{folder}/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    return found


def choose(pod_address: str, listening: Iterable[tuple[str, str]], own: set[str]) -> str:
    """The address to dial. `listening`: (address, inode); `own`: the pod's inodes. ConnectionRefusedError for none."""
    sockets = list(listening)
    mine = {address for address, inode in sockets if inode in own}
    if pod_address and pod_address in {address for address, _ in sockets}:
        return pod_address
    if mine & {"0.0.0.0", "::"}:
        return pod_address or "127.0.0.1"
    for address in ("127.0.0.1", "::1"):
        if address in mine:
            return address
    raise ConnectionRefusedError("connection refused: no process of the pod listens there")


def find(pod_address: str, port: int, pids: Iterable[int]) -> str:
    """Where to dial for a pod's port. ConnectionRefusedError when the pod listens on no such port."""
    listening: list[tuple[str, str]] = []
    for table in _TABLES:
        try:
            with open(table, encoding="ascii") as file:
                listening.extend(parse_table(file.read(), port))
        except OSError:
            continue  # a kernel without IPv6
    return choose(pod_address, listening, sockets_of(pids) if listening else set())
