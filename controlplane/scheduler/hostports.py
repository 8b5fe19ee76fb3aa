"""Ports of the hosts that pods claim, by port, so that a question about one port looks only at the nodes that use it."""

from collections import Counter
from collections.abc import Iterable

from controlplane.scheduler.podinfo import HostPort

ANY_ADDRESS = "0.0.0.0"


class HostPorts:
    """(protocol, port) -> row -> addresses, counted."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, int], dict[int, Counter[str]]] = {}

    def claim(self, row: int, ports: Iterable[HostPort]) -> None:
        """A pod on this row holds the ports."""
        for port in ports:
            rows = self._claims.setdefault((port.protocol, port.port), {})
            rows.setdefault(row, Counter())[port.address] += 1

    def release(self, row: int, ports: Iterable[HostPort]) -> None:
        """The pod on this row holds the ports no more."""
        for port in ports:
            rows = self._claims[port.protocol, port.port]
            addresses = rows[row]
            addresses[port.address] -= 1
            if not addresses[port.address]:
                del addresses[port.address]
            if not addresses:
                del rows[row]
            if not rows:
                del self._claims[port.protocol, port.port]

    def clear(self, row: int) -> None:
        """Forget all claims on a row."""
        for key in [key for key, rows in self._claims.items() if rows.pop(row, None) is not None]:
            if not self._claims[key]:
                del self._claims[key]

    def conflicts(self, ports: Iterable[HostPort]) -> set[int]:
        """Rows where one of the ports is taken."""
        taken: set[int] = set()
        for port in ports:
            for row, addresses in self._claims.get((port.protocol, port.port), {}).items():
                if port.address == ANY_ADDRESS or ANY_ADDRESS in addresses or port.address in addresses:
                    taken.add(row)
        return taken
