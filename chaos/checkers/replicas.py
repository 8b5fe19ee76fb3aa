"""All members hold the same: whoever tells a hash for a revision tells the same one."""

from collections.abc import Sequence

from chaos.observed import Replica

__all__ = ["check"]


def check(replicas: Sequence[Replica]) -> list[str]:
    """Return a line per pair of members whose hashes for one revision (and one compaction) differ."""
    first: dict[tuple[int, int], Replica] = {}
    found = []
    for replica in replicas:
        other = first.setdefault((replica.revision, replica.compact_revision), replica)
        if other.hash != replica.hash:
            told = f"{other.member} has hash {other.hash} and {replica.member} {replica.hash}"
            found.append(f"DIFFERENT: at revision {replica.revision} {told}")
    return found
