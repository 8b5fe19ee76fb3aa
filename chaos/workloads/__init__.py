"""Workloads: clients that write down what they did. The registry is what `--workload` takes.

session.py        what a client has (Bench), and requests that are written down (Session)
register.py       puts, reads, swaps on single keys          cas.py      compare-and-set by revision, version, value
transactions.py   guards and steps on many keys              append.py   lists that grow
sets.py bank.py queue.py                                     lock.py     locks and elections with fencing
watch.py          streams, message by message                lease.py    leases that live, are renewed, and end
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.observed import Scope
from chaos.workloads import append, bank, cas, lease, lock, queue, register, sets, transactions, watch
from chaos.workloads.session import Bench

__all__ = ["WORKLOADS", "Bench", "Workload"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What each client does, and what its keys are for."""

    client: Callable[[Bench], Awaitable[None]]
    scope: Scope


WORKLOADS: dict[str, Workload] = {
    "register": Workload(register.client, register.SCOPE),
    "cas": Workload(cas.client, cas.SCOPE),
    "transactions": Workload(transactions.client, transactions.SCOPE),
    "append": Workload(append.client, append.SCOPE),
    "set": Workload(sets.client, sets.SCOPE),
    "bank": Workload(bank.client, bank.SCOPE),
    "queue": Workload(queue.client, queue.SCOPE),
    "watch": Workload(watch.client, watch.SCOPE),
    "lease": Workload(lease.client, lease.SCOPE),
    "lock": Workload(lock.client, lock.SCOPE),
    "election": Workload(lock.candidate, lock.ELECTION_SCOPE),
}
