"""A range of addresses given out one by one.  Pure.

The address of an owner follows from its name, so that a Service that is created again gets its address again and every leader
decides alike; a taken one makes it step to the next free.
"""

from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network
from zlib import crc32


class RangeExhausted(Exception):
    """Every address of the range is taken."""


def usable(network: IPv4Network) -> tuple[int, int]:
    """(first, count) of the addresses that may be given out: all but network and broadcast, where those exist."""
    if network.num_addresses <= 2:
        return int(network.network_address), network.num_addresses
    return int(network.network_address) + 1, network.num_addresses - 2


def allocate(network: IPv4Network, owner: str, taken: Container[str]) -> str:
    """The owner's address. Raises RangeExhausted."""
    first, count = usable(network)
    start = crc32(owner.encode()) % count
    for step in range(count):
        address = str(IPv4Address(first + (start + step) % count))
        if address not in taken:
            return address
    raise RangeExhausted(f"all {count} addresses of {network} are in use")


def is_usable(network: IPv4Network, address: str) -> bool:
    """May this address be given out? False also for what is no address."""
    first, count = usable(network)
    try:
        return first <= int(IPv4Address(address)) < first + count
    except ValueError:
        return False
