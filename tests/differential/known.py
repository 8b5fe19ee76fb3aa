"""Where versions of etcd differ: ours follows the newest. Each entry says for which peer, which step, and why.

What cannot be asked: a sort order or target that does not exist makes etcd before 3.5.5 panic; ours answers as later ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvstore.pb import rpc_pb2 as rpc
from tests.differential.steps import Ask, Step, Watch

COMPACTED = (11, "etcdserver: mvcc: required revision has been compacted")


@dataclass(frozen=True, slots=True)
class Difference:
    """One that is not a bug of ours. `applies(step, ours, theirs)`."""

    peers: tuple[str, ...]
    reason: str
    applies: Callable[[Step, Any, Any], bool]


def _asks(step: Step, method: str) -> bool:
    return isinstance(step, Ask) and step.method == method


def _without_hash_revision(answer: Any) -> Any:
    if isinstance(answer, rpc.HashKVResponse):
        answer = rpc.HashKVResponse.FromString(answer.SerializeToString())
        answer.hash_revision = 0
    return answer


def _is_of_compacted(answer: Any) -> bool:
    return isinstance(answer, rpc.HashKVResponse) and answer.hash_revision == answer.compact_revision


KNOWN = [
    Difference(
        ("etcd 3.4",),
        "AuthStatus came with 3.5",
        lambda step, ours, theirs: _asks(step, "Auth/AuthStatus") and theirs[0] == 12,
    ),
    Difference(
        ("etcd 3.4",),
        "an Alarm request that lists is answered without a header by 3.4",
        lambda step, ours, theirs: _asks(step, "Maintenance/Alarm") and not theirs.HasField("header"),
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "hash_revision came with 3.6",
        lambda step, ours, theirs: _asks(step, "Maintenance/HashKV") and _without_hash_revision(ours) == theirs,
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "the hash at the compacted revision itself can be had since 3.5.5, for the check of members against one another",
        lambda step, ours, theirs: _asks(step, "Maintenance/HashKV") and theirs == COMPACTED and _is_of_compacted(ours),
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "a watch from a negative revision is refused at once since 3.5.2; before, it was created and then cancelled",
        lambda step, ours, theirs: isinstance(step, Watch) and step.request.start_revision < 0 and theirs[-1].canceled,
    ),
]


def known_difference(peer: str, step: Step, ours: Any, theirs: Any) -> Difference | None:
    """Return the entry that explains why the answers differ."""
    return next((one for one in KNOWN if peer in one.peers and one.applies(step, ours, theirs)), None)
