"""Majorities and joint majorities."""

from collections.abc import Callable, Mapping

from kvstore.raft.configuration import Configuration


def committed_index(configuration: Configuration, match: Callable[[int], int]) -> int:
    """The greatest index that a majority (of both halves, when joint) is known to hold."""
    index = _majority_index(configuration.voters, match)
    if configuration.outgoing:
        return min(index, _majority_index(configuration.outgoing, match))
    return index


def _majority_index(voters: tuple[int, ...], match: Callable[[int], int]) -> int:
    held = sorted(map(match, voters))
    return held[(len(held) - 1) // 2] if held else 0


def has_quorum(configuration: Configuration, agrees: Callable[[int], bool]) -> bool:
    """Whether a majority (of both halves, when joint) agrees."""
    if not _majority(configuration.voters, agrees):
        return False
    return not configuration.outgoing or _majority(configuration.outgoing, agrees)


def _majority(voters: tuple[int, ...], agrees: Callable[[int], bool]) -> bool:
    return 2 * sum(1 for voter in voters if agrees(voter)) > len(voters)


def is_lost(configuration: Configuration, votes: Mapping[int, bool]) -> bool:
    """Whether so many have refused that no majority is left to win."""
    return not has_quorum(configuration, lambda voter: votes.get(voter, True))
