"""Answers in a form that can be compared: without what differs between any two servers, or is promised in no order."""

from typing import Any

from kvstore.pb import election_pb2 as election
from kvstore.pb import lock_pb2
from kvstore.pb import rpc_pb2 as rpc
from tests.differential.revisions import to_relative

NO_IDENTITY = {"TxnResponse", "HashKVResponse"}
NO_TERM = NO_IDENTITY | {"LockResponse", "UnlockResponse"}
_RANDOM_FROM = 1 << 20


def comparable(answer: Any, base: int, members: dict[int, int]) -> Any:
    """Change an answer so that it can be compared, and return it. `members` gives ids their number in a sequence."""
    known = answer.DESCRIPTOR.name
    change = _CHANGES.get(known)
    if change is not None:
        answer = change(answer) or answer
    for one in getattr(answer, "members", ()):
        _show_member(one, members)
    if known == "MemberAddResponse":
        _show_member(answer.member, members)
    if known.startswith("Member"):
        ordered = sorted(answer.members, key=lambda one: bool(one.isLearner))  # by id in etcd, and that is random
        del answer.members[:]
        answer.members.extend(ordered)
    if answer.DESCRIPTOR.fields_by_name.get("header") and answer.HasField("header"):
        header = answer.header
        assert known in NO_IDENTITY or (header.cluster_id and header.member_id and header.raft_term)
        header.cluster_id = header.member_id = header.raft_term = 0
    to_relative(answer, base)
    return answer


def _status(answer: rpc.StatusResponse) -> rpc.StatusResponse:
    assert answer.version and answer.raftTerm and answer.raftIndex >= answer.raftAppliedIndex and answer.dbSize
    is_leader = int(answer.leader == answer.header.member_id)
    return rpc.StatusResponse(
        header=answer.header, errors=answer.errors, isLearner=answer.isLearner, leader=is_leader
    )


def _show_member(one: rpc.Member, members: dict[int, int]) -> None:
    one.ID = members.setdefault(one.ID, len(members) + 1)
    if one.ID == 1:  # a port of the server's own
        one.peerURLs[:] = [url.rpartition(":")[0] for url in one.peerURLs]
        one.clientURLs[:] = [url.rpartition(":")[0] for url in one.clientURLs]


def _hash(answer: rpc.HashKVResponse | rpc.HashResponse) -> None:
    answer.hash = 1  # members of one cluster agree on it, different programs need not


def _leases(answer: rpc.LeaseLeasesResponse) -> None:
    ids = sorted(_shown(lease.ID) for lease in answer.leases)
    del answer.leases[:]
    answer.leases.extend(rpc.LeaseStatus(ID=lease) for lease in ids)


def _time_to_live(answer: rpc.LeaseTimeToLiveResponse) -> None:
    if answer.TTL > 0:
        assert answer.grantedTTL - 30 <= answer.TTL <= answer.grantedTTL
        answer.TTL = 1
    answer.keys[:] = sorted(answer.keys)


def _grant(answer: rpc.LeaseGrantResponse) -> None:
    answer.ID = _shown(answer.ID)


def _token(answer: rpc.AuthenticateResponse) -> None:
    answer.token = "a token" if answer.token else ""


def _role(answer: rpc.AuthRoleGetResponse) -> None:
    permissions = sorted(answer.perm, key=lambda one: (one.key, one.range_end))
    del answer.perm[:]
    answer.perm.extend(permissions)


def _lock(answer: lock_pb2.LockResponse) -> None:
    answer.key = _key(answer.key)


def _campaign(answer: election.CampaignResponse) -> None:
    answer.leader.key = _key(answer.leader.key)
    answer.leader.lease = _shown(answer.leader.lease)


def _key(key: bytes) -> bytes:
    """Return a lock's key; one with a lease that a server has drawn has it left out."""
    prefix, _, lease = key.rpartition(b"/")
    return key if len(lease) < 5 else prefix


def _shown(lease: int) -> int:
    """Ids that a server has drawn are all the same."""
    return lease if lease < _RANDOM_FROM else _RANDOM_FROM


_CHANGES: dict[str, Any] = {
    "StatusResponse": _status,
    "HashKVResponse": _hash,
    "HashResponse": _hash,
    "LeaseLeasesResponse": _leases,
    "LeaseTimeToLiveResponse": _time_to_live,
    "LeaseGrantResponse": _grant,
    "AuthenticateResponse": _token,
    "AuthRoleGetResponse": _role,
    "LockResponse": _lock,
    "CampaignResponse": _campaign,
}
