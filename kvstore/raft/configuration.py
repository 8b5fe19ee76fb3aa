"""Who votes and who listens: one configuration, or two at once while membership changes (dissertation, 4.3)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Configuration:
    """`voters` decide; while `outgoing` is not empty its majority must agree too; `learners` only receive the log.

    All tuples are sorted. `outgoing` holds the voters of the configuration being left.
    """

    voters: tuple[int, ...]
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()

    @property
    def is_joint(self) -> bool:
        return bool(self.outgoing)

    def members(self) -> tuple[int, ...]:
        """Everyone who receives the log, sorted."""
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    def electorate(self) -> tuple[int, ...]:
        """Everyone whose vote counts somewhere, sorted."""
        return tuple(sorted({*self.voters, *self.outgoing}))

    def is_voter(self, member: int) -> bool:
        return member in self.voters or member in self.outgoing

    def encode(self) -> bytes:
        """Three counts, then the ids, all big-endian 64-bit."""
        counts = (len(self.voters), len(self.outgoing), len(self.learners))
        ids = self.voters + self.outgoing + self.learners
        return struct.pack(f">{3 + len(ids)}Q", *counts, *ids)


def decode_configuration(data: bytes) -> Configuration:
    """The inverse of encode; raises struct.error or ValueError on other bytes."""
    numbers = struct.unpack(f">{len(data) // 8}Q", data)
    voters, outgoing, learners = numbers[:3]
    if len(numbers) != 3 + voters + outgoing + learners:
        raise ValueError("the configuration does not have the length it states")
    ids = numbers[3:]
    return Configuration(ids[:voters], ids[voters : voters + outgoing], ids[voters + outgoing :])


def make_configuration(voters: Iterable[int], learners: Iterable[int] = ()) -> Configuration:
    """A plain configuration of these members, in any order."""
    return Configuration(tuple(sorted(voters)), (), tuple(sorted(learners)))


def next_step(current: Configuration, target: Configuration) -> Configuration:
    """The configuration to append on the way from `current` (not joint) to `target`: itself, or the joint one.

    A voter cannot become a learner in one change (etcd has no such request either).
    """
    changed = set(current.voters) ^ set(target.voters)
    if len(changed) <= 1:
        return target
    return Configuration(target.voters, current.voters, target.learners)


def leave_joint(joint: Configuration) -> Configuration:
    """The configuration that ends a joint one."""
    return Configuration(joint.voters, (), joint.learners)
