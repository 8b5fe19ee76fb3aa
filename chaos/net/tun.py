"""An IP switch in this process: every member in a network namespace with a TUN device, and one device for the clients.

What real networks do to packets (loss, duplication, reordering, delay, corruption, one-way cuts) is done here, below TCP.
Needs root, /dev/net/tun and `ip`; the namespaces and devices are gone after `close`.
"""

import asyncio
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from chaos.net.conditions import CLIENTS, Rules

__all__ = ["Switch", "why_no_switch"]

TUNSETIFF: Final = 0x400454CA
IFF_TUN_NO_PACKET_INFORMATION: Final = 0x0001 | 0x1000
CLONE_NEWNET: Final = 0x40000000
MTU: Final = 9000
CLIENT_HOST: Final = 254
REORDER_SECONDS: Final = 0.02  # how long a packet is kept back so that others overtake it
BURST_PACKETS: Final = 64  # read from a device before the loop may do something else


class Switch:
    """`count` ends with the addresses 10.99.N.1 and so on, N by chance; `ends` are (address, namespace)."""

    def __init__(self, rules: Rules, random: Random, count: int) -> None:
        self._rules, self._random = rules, random
        net = random.randrange(1, 255)
        mark = f"{os.getpid():x}"
        self.ends = [(f"10.99.{net}.{number}", f"ph{mark}-{number}") for number in range(1, count + 1)]
        self._clients = f"10.99.{net}.{CLIENT_HOST}"
        self._device = f"ph{mark}"[:15]
        self._names = {address: f"m{number}" for number, (address, _) in enumerate(self.ends, 1)}
        self._names[self._clients] = CLIENTS
        self._files: dict[bytes, int] = {}
        self.packets = 0

    def open(self) -> None:
        """Make the namespaces and devices, and begin to switch. Raises OSError, CalledProcessError where not allowed."""
        for address, namespace in self.ends:
            _run("ip", "netns", "add", namespace)
            self._files[socket.inet_aton(address)] = _in_namespace(namespace, lambda: _tun("tun0"))
            _configure(("ip", "-n", namespace), "tun0", address)
            _run("ip", "-n", namespace, "link", "set", "lo", "up")
        self._files[socket.inet_aton(self._clients)] = _tun(self._device)
        _configure(("ip",), self._device, self._clients)
        loop = asyncio.get_running_loop()
        for file in self._files.values():
            os.set_blocking(file, False)
            loop.add_reader(file, self._readable, file)

    def close(self) -> None:
        """Remove all of it."""
        loop = asyncio.get_running_loop()
        for file in self._files.values():
            loop.remove_reader(file)
            os.close(file)
        self._files.clear()
        for _, namespace in self.ends:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def _readable(self, file: int) -> None:
        for _ in range(BURST_PACKETS):
            try:
                packet = os.read(file, MTU + 64)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:
                self._forward(packet)

    def _forward(self, packet: bytes) -> None:
        self.packets += 1
        target = self._files.get(packet[16:20])
        if target is None:
            return
        if self._rules.is_calm:
            self._send(target, packet)
            return
        source = self._names[socket.inet_ntoa(packet[12:16])]
        destination = self._names[socket.inet_ntoa(packet[16:20])]
        copies, delay = 1, 0.0
        for rule in self._rules.between(source, destination):
            draw, before = self._random.random, (copies, delay, packet)
            if rule.cut or draw() < rule.loss:
                copies = 0
            if draw() < rule.duplicate:
                copies += 1 if copies else 0
            if draw() < rule.reorder:
                delay += REORDER_SECONDS
            if draw() < rule.corrupt:
                packet = self._corrupted(packet)
            delay += rule.delay_seconds + (self._random.uniform(0, rule.jitter_seconds) if rule.jitter_seconds else 0)
            rule.touched += before != (copies, delay, packet)
        for _ in range(copies):
            if delay:
                asyncio.get_running_loop().call_later(delay, self._send, target, packet)
            else:
                self._send(target, packet)

    def _corrupted(self, packet: bytes) -> bytes:
        """One bit behind the IP header is another; TCP's checksum tells."""
        at = self._random.randrange(20, len(packet))
        return packet[:at] + bytes([packet[at] ^ 1 << self._random.randrange(8)]) + packet[at + 1 :]

    def _send(self, target: int, packet: bytes) -> None:
        if self._files:
            try:
                os.write(target, packet)
            except (BlockingIOError, OSError):
                return  # a full device drops, as devices do


def why_no_switch() -> str:
    """Return why there can be none here; "": there can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    if shutil.which("ip") is None:
        return "ip (iproute2) is not installed"
    return ""


def _tun(name: str) -> int:
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PACKET_INFORMATION))
    return file


def _configure(ip: tuple[str, ...], device: str, address: str) -> None:
    _run(*ip, "addr", "add", f"{address}/24", "dev", device)
    _run(*ip, "link", "set", device, "mtu", str(MTU), "up")


def _in_namespace(namespace: str, make: Callable[[], int]) -> int:
    """Call `make` in a thread of that namespace: a namespace is a thread's, and the thread ends with it."""
    made: list[int | OSError] = []

    def work() -> None:
        try:
            with open(f"/run/netns/{namespace}") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            made.append(make())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (result,) = made
    if isinstance(result, OSError):
        raise result
    return result


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
