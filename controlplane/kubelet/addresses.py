"""Pod addresses of one node, from its range.  Pure."""

from __future__ import annotations

import ipaddress
import zlib

LOOPBACK_PODS_OFFSET = 16  # the third octet of a node's pods is this plus the node's last octet less one


class AddressesExhausted(Exception):
    """Every address of the range is in use."""


class PodAddresses:
    """Hands out the host addresses of a range in a circle, so that a freed one is not used again at once."""

    def __init__(self, cidr: str) -> None:
        network = ipaddress.ip_network(cidr, strict=False)
        self.cidr = str(network)
        self._first = int(network.network_address) + 1
        self._count = max(network.num_addresses - 2, 1)
        self._make = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
        self._next = 0
        self._used: dict[str, str] = {}  # address -> owner

    def acquire(self, owner: str, wanted: str = "") -> str:
        """An address for `owner`: the one it wants if that is free and ours. AddressesExhausted when none is left."""
        if wanted and self._contains(wanted) and self._used.get(wanted, owner) == owner:
            self._used[wanted] = owner
            return wanted
        for _ in range(self._count):
            address = str(self._make(self._first + self._next))
            self._next = (self._next + 1) % self._count
            if address not in self._used:
                self._used[address] = owner
                return address
        raise AddressesExhausted(f"no free pod address in {self.cidr}")

    def release(self, owner: str) -> None:
        """Take back what `owner` had."""
        for address in [address for address, holder in self._used.items() if holder == owner]:
            del self._used[address]

    def _contains(self, text: str) -> bool:
        try:
            return 0 <= int(ipaddress.ip_address(text)) - self._first < self._count
        except ValueError:
            return False


def default_cidr(node_name: str, node_ip: str) -> str:
    """The range of a node that was given none: beside its own loopback address, else somewhere in 100.64.0.0/10."""
    octets = node_ip.split(".")
    if len(octets) == 4 and octets[0] == "127" and 1 <= int(octets[3]) <= 100:
        return f"127.{octets[1]}.{LOOPBACK_PODS_OFFSET + int(octets[3]) - 1}.0/24"
    number = zlib.crc32(node_name.encode()) % (1 << 14)
    return f"100.{64 + (number >> 8)}.{number & 255}.0/24"
