"""Where versions of etcd differ: ours follows the newest. Each entry says for which peer, which step, and why.

What cannot be asked: while there is no space, a put in a nested transaction (etcd counts the outer ones only, and performs it,
so that nothing after it is comparable; ours refuses it). A sort order or target that does not exist makes etcd before 3.5.5
panic; ours answers as later ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvstore.pb import rpc_pb2 as rpc
from tests.differential.steps import Ask, Http, Json, Peek, Step, Watch

COMPACTED = (11, "etcdserver: mvcc: required revision has been compacted")

ID_EXISTS = (9, "etcdserver: member ID already exist")

LOST = (2, "election: not leader")

NAMELESS, BAD_TOKEN = "etcdserver: user name is empty", "etcdserver: invalid auth token"

REFUSED = ((3, NAMELESS), (16, BAD_TOKEN), (7, "etcdserver: permission denied"))
OPEN = ("Cluster/MemberList", "Maintenance/HashKV", "Maintenance/Defragment", "Lease/LeaseLeases", "Lease/LeaseTimeToLive",
        "Auth/AuthStatus")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """One that is not a bug of ours. `applies(step, ours, theirs)`."""

    peers: tuple[str, ...]
    reason: str
    applies: Callable[[Step, Any, Any], bool]


def _asks(step: Step, method: str) -> bool:
    return isinstance(step, Ask) and step.method == method


def _newer_auth_revision(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, tuple) and isinstance(theirs, tuple):  # by the gateway: message, shape
        ours, theirs = ours[0], theirs[0]
    return (
        isinstance(ours, rpc.AuthStatusResponse) and isinstance(theirs, rpc.AuthStatusResponse)
        and ours.enabled == theirs.enabled and theirs.authRevision > ours.authRevision
    )  # fmt: skip


def _without_hash_revision(answer: Any) -> Any:
    if isinstance(answer, rpc.HashKVResponse):
        answer = rpc.HashKVResponse.FromString(answer.SerializeToString())
        answer.hash_revision = 0
    return answer


def _without_header(answer: Any) -> Any:
    answer = type(answer).FromString(answer.SerializeToString())
    answer.ClearField("header")
    return answer


def _with_watch_id(answer: rpc.WatchResponse, watch_id: int) -> rpc.WatchResponse:
    answer = rpc.WatchResponse.FromString(answer.SerializeToString())
    answer.watch_id = watch_id
    return answer


def _is_of_compacted(answer: Any) -> bool:
    return isinstance(answer, rpc.HashKVResponse) and answer.hash_revision == answer.compact_revision


def _as_if_won(ours: Any, theirs: Any) -> Any:
    """Return our answers with those to campaigners that have lost their keys as etcd gives them."""
    if not isinstance(ours, list) or not any(one[1] == LOST for one in ours if isinstance(one, tuple)):
        return ours
    others = dict(theirs[1:])
    return [ours[0], *((key, others.get(key) if answer == LOST else answer) for key, answer in ours[1:])]


KNOWN = [
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "a campaigner whose key went while he waited is told that he leads, by a slip; ours says that he does not",
        lambda step, ours, theirs: _as_if_won(ours, theirs) == theirs,
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "who logs in and sends a token that has ended is refused by etcd (its client learned to leave the token out); ours looks"
        " at the password alone",
        lambda step, ours, theirs: (
            isinstance(step, Ask | Json) and step.method == "Auth/Authenticate" and BAD_TOKEN in str(theirs)
        ),
    ),
    Difference(
        ("etcd 3.4",),
        "AuthStatus came with 3.5",
        lambda step, ours, theirs: _asks(step, "Auth/AuthStatus") and theirs[0] == 12,
    ),
    Difference(
        ("etcd 3.4",),
        "the same by the gateway",
        lambda step, ours, theirs: isinstance(step, Json) and step.method == "Auth/AuthStatus" and theirs[0] == 404,
    ),
    Difference(
        ("etcd 3.5",),
        "a permission that a role has is granted again without a new revision of the users since 3.6",
        lambda step, ours, theirs: _newer_auth_revision(ours, theirs),
    ),
    Difference(
        ("etcd 3.4",),
        "Alarm is answered without a header by 3.4",
        lambda step, ours, theirs: _asks(step, "Maintenance/Alarm") and _without_header(ours) == theirs,
    ),
    Difference(
        ("etcd 3.4",),
        "Downgrade came with 3.5",
        lambda step, ours, theirs: _asks(step, "Maintenance/Downgrade") and theirs[0] == 12,
    ),
    Difference(
        ("etcd 3.4",),
        "the reason in /health came with 3.5",
        lambda step, ours, theirs: (
            isinstance(step, Http)
            and "health" in theirs[1]
            and ours == (theirs[0], {**theirs[1], "reason": ours[1]["reason"]})
        ),
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "a path that the gateway does not know was answered in plain text before 3.6",
        lambda step, ours, theirs: isinstance(step, Http) and theirs == (404, "Not Found\n") and ours[0] == 404,
    ),
    Difference(
        ("etcd 3.4",),
        "the gateway of 3.4 translates FAILED_PRECONDITION to 412, later ones to 400",
        lambda step, ours, theirs: isinstance(step, Json) and theirs == (412, ours[1]) and ours[0] == 400,
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "an id is made of the addresses and the time: the same address again is the same id only within one second",
        lambda step, ours, theirs: (
            _asks(step, "Cluster/MemberAdd")
            and theirs == ID_EXISTS
            and ours == (9, "etcdserver: Peer URLs already exists")
        ),
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
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "a watch that is not permitted has the id -1 since 3.5.5, as others that are refused",
        lambda step, ours, theirs: (
            isinstance(step, Peek) and theirs.canceled and ours.watch_id == -1 and _with_watch_id(theirs, -1) == ours
        ),
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "a watch without a token, or with a wrong one, is refused for that since 3.5.5; before, for lack of permission",
        lambda step, ours, theirs: (
            isinstance(step, Peek)
            and theirs.canceled
            and any(text in ours.cancel_reason for text in (NAMELESS, BAD_TOKEN))
        ),
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "what only root, or only somebody who has logged in, may ask was open to all in these versions",
        lambda step, ours, theirs: isinstance(step, Ask) and step.method in OPEN and ours in REFUSED and ours != theirs,
    ),
    Difference(
        ("etcd 3.4", "etcd 3.5"),
        "the same by the gateway",
        lambda step, ours, theirs: isinstance(step, Json) and step.method in OPEN and ours[0] in (400, 401, 403),
    ),
]


def known_difference(peer: str, step: Step, ours: Any, theirs: Any) -> Difference | None:
    """Return the entry that explains why the answers differ."""
    return next((one for one in KNOWN if peer in one.peers and one.applies(step, ours, theirs)), None)
