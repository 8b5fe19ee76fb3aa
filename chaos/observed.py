"""What else a run writes down beside requests: faults, leaders, holders of locks, replicas, and what the keys are for."""

from dataclasses import dataclass

__all__ = ["Episode", "Hold", "Led", "Replica", "Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What the keys of a prefix are used for, so that `check` knows which checkers apply.

    workload  register | transactions | bank | append | set | queue | lock | election ...; docstrings of the checkers tell
              how values of bank, append, set and queue look
    total     of a bank: what all accounts hold together
    is_drained  of a queue or set: the last operations read all that was left
    """

    workload: str
    prefix: str
    total: int = 0
    is_drained: bool = False


@dataclass(frozen=True, slots=True)
class Episode:
    """One fault, from its injection to its heal. `recovered`: when a write succeeded again; None: it was not waited for."""

    fault: str
    victims: tuple[str, ...]
    injected: float
    healed: float
    recovered: float | None = None


@dataclass(frozen=True, slots=True)
class Led:
    """One observation: `member` said at `time` that it leads in `term`."""

    member: str
    term: int
    time: float


@dataclass(frozen=True, slots=True)
class Hold:
    """One time that a client held a lock or led an election.

    name       the prefix of the keys of all who want it
    key        the holder's own key; `create_revision` of it is the fencing token
    asked, acquired, released   seconds; released None: it never gave it back (its lease ends it)
    revision   the header's revision of the answer that granted it: the key must exist there
    """

    client: int
    name: str
    key: str
    create_revision: int
    asked: float
    acquired: float
    released: float | None = None
    revision: int = 0
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Replica:
    """One member's hash of all key-values at a revision, as its Maintenance.HashKV tells it."""

    member: str
    revision: int
    hash: int
    compact_revision: int = 0
