"""Sequences about one thing: users and what they may do, members, alarms, locks and elections."""

from typing import Any

from hypothesis import strategies as st

from kvstore.pb import auth_pb2 as auth
from kvstore.pb import election_pb2 as election
from kvstore.pb import lock_pb2
from kvstore.pb import rpc_pb2 as rpc
from tests.differential.requests import ask, key_value, leases, others, watches
from tests.differential.steps import ROOT, Ask, Contend, Http, Json, Peek, Step
from tests.kvstore.mvcc.strategies import BITS

PASSWORDS = ("one", "two")
PEOPLE = ("ann", "bob")
USERS = st.sampled_from([ROOT, *PEOPLE, "nobody", ""])
ROLES = st.sampled_from([ROOT, "reader", "writer", "none", ""])
KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
ENDS = st.sampled_from([b"", b"", b"e", b"f", b"\0"])
FIRST_ADDRESS = "http://127.9.9.9:"  # nobody listens there


# ---- users ------------------------------------------------------------------------------------------------------------

_DOOR = [
    Ask("Auth/AuthEnable", rpc.AuthEnableRequest()),
    Ask("Auth/UserAdd", rpc.AuthUserAddRequest(name=ROOT, password=PASSWORDS[0])),
    Ask("Auth/UserAdd", rpc.AuthUserAddRequest(name=PEOPLE[0], password=PASSWORDS[1])),
    Ask("Auth/RoleAdd", rpc.AuthRoleAddRequest(name="reader")),
    Ask("Auth/UserGrantRole", rpc.AuthUserGrantRoleRequest(user=PEOPLE[0], role="reader")),
    Ask("Auth/AuthEnable", rpc.AuthEnableRequest()),
    Ask("Auth/UserGrantRole", rpc.AuthUserGrantRoleRequest(user=ROOT, role=ROOT)),
    Ask("Auth/AuthEnable", rpc.AuthEnableRequest()),
]


def _changes() -> st.SearchStrategy[Any]:
    """Draw a change of users or roles. Root keeps a password, else nobody could open the door again."""
    passwords, people = st.sampled_from(PASSWORDS), st.sampled_from([*PEOPLE, "nobody", ""])
    permission = st.builds(auth.Permission, permType=st.integers(0, 2), key=KEYS, range_end=ENDS)
    no_password = st.just(auth.UserAddOptions(no_password=True))
    grant = st.builds(rpc.AuthRoleGrantPermissionRequest, name=ROLES, perm=permission)
    return st.one_of(
        ask("Auth/UserAdd", st.builds(rpc.AuthUserAddRequest, name=USERS, password=passwords)),
        ask("Auth/UserAdd", st.builds(rpc.AuthUserAddRequest, name=people, options=no_password)),
        ask("Auth/UserDelete", st.builds(rpc.AuthUserDeleteRequest, name=USERS)),
        ask("Auth/UserChangePassword", st.builds(rpc.AuthUserChangePasswordRequest, name=USERS, password=passwords)),
        ask("Auth/UserGrantRole", st.builds(rpc.AuthUserGrantRoleRequest, user=USERS, role=ROLES)),
        ask("Auth/UserGrantRole", st.builds(rpc.AuthUserGrantRoleRequest, user=USERS, role=ROLES)),
        ask("Auth/UserRevokeRole", st.builds(rpc.AuthUserRevokeRoleRequest, name=USERS, role=ROLES)),
        ask("Auth/RoleAdd", st.builds(rpc.AuthRoleAddRequest, name=ROLES)),
        ask("Auth/RoleDelete", st.builds(rpc.AuthRoleDeleteRequest, role=ROLES)),
        ask("Auth/RoleGrantPermission", grant),
        ask("Auth/RoleGrantPermission", grant),
        ask(
            "Auth/RoleRevokePermission",
            st.builds(rpc.AuthRoleRevokePermissionRequest, role=ROLES, key=KEYS, range_end=ENDS),
        ),
        ask("Auth/AuthEnable", st.just(rpc.AuthEnableRequest())),
        ask("Auth/AuthDisable", st.just(rpc.AuthDisableRequest())),
    )


def _questions() -> st.SearchStrategy[Any]:
    login = st.builds(rpc.AuthenticateRequest, name=USERS, password=st.sampled_from([*PASSWORDS, ""]))
    return st.one_of(
        ask("Auth/UserGet", st.builds(rpc.AuthUserGetRequest, name=USERS)),
        ask("Auth/RoleGet", st.builds(rpc.AuthRoleGetRequest, role=ROLES)),
        ask("Auth/UserList", st.just(rpc.AuthUserListRequest())),
        ask("Auth/RoleList", st.just(rpc.AuthRoleListRequest())),
        ask("Auth/Authenticate", login),
        ask("Auth/AuthStatus", st.just(rpc.AuthStatusRequest())),
    )


def _uses() -> st.SearchStrategy[Any]:
    """Draw what somebody may be allowed to do. No nested transactions: in these etcds they get past every check."""
    put = st.builds(rpc.PutRequest, key=KEYS, value=st.just(b"v"), prev_kv=BITS, lease=st.integers(0, 1))
    delete = st.builds(rpc.DeleteRangeRequest, key=KEYS, range_end=ENDS, prev_kv=BITS)
    read = st.builds(rpc.RangeRequest, key=KEYS, range_end=ENDS, serializable=BITS)
    compare = st.builds(rpc.Compare, key=KEYS, target=st.just(0), result=st.just(1))
    operation = st.one_of(
        st.builds(rpc.RequestOp, request_put=put),
        st.builds(rpc.RequestOp, request_delete_range=delete),
        st.builds(rpc.RequestOp, request_range=read),
    )
    flat = st.builds(
        rpc.TxnRequest, compare=st.lists(compare, max_size=1), success=st.lists(operation, min_size=1, max_size=1),
        failure=st.lists(operation, max_size=1),
    )  # fmt: skip
    return st.one_of(
        ask("KV/Put", put), ask("KV/DeleteRange", delete), ask("KV/Range", read), ask("KV/Txn", flat),
        ask("Lease/LeaseTimeToLive", st.builds(rpc.LeaseTimeToLiveRequest, ID=st.just(1), keys=BITS)),
        ask("Lease/LeaseLeases", st.just(rpc.LeaseLeasesRequest())),
        ask("Maintenance/HashKV", st.just(rpc.HashKVRequest())),
        ask("Maintenance/Defragment", st.just(rpc.DefragmentRequest())),
        ask("Cluster/MemberList", st.just(rpc.MemberListRequest())),
    )  # fmt: skip


def _acts_of_root() -> st.SearchStrategy[Any]:
    """Draw what these etcds let others do too, by a slip that later ones have mended."""
    return st.one_of(
        ask("Lease/LeaseGrant", st.just(rpc.LeaseGrantRequest(ID=1, TTL=3600))),
        ask("Lease/LeaseRevoke", st.just(rpc.LeaseRevokeRequest(ID=1))),
        ask("KV/Compact", st.builds(rpc.CompactionRequest, revision=st.integers(1, 9))),
    )


def _named(step: Ask, user: str, by_json: bool) -> Step:
    return Json(step.method, step.request, user) if by_json else Ask(step.method, step.request, user)  # type: ignore[arg-type]


def people(longest: int) -> st.SearchStrategy[list[Step]]:
    """Draw what happens when users come and go, and do things."""
    seldom = st.sampled_from([False] * 5 + [True])
    users = st.sampled_from([ROOT, ROOT, *PEOPLE, *PEOPLE, "nobody", "", "a token that is none"])
    by_root = st.builds(_named, st.one_of(_changes(), _changes(), _changes(), _acts_of_root()), st.just(ROOT), seldom)
    by_others = st.builds(_named, st.one_of(_uses(), _uses(), _uses(), _questions(), _changes()), users, seldom)
    peeks = st.builds(Peek, users, KEYS, st.sampled_from([b"", b"e", b"\0"]))
    step = st.one_of(by_root, by_root, by_others, by_others, by_others, peeks)
    status = Ask("Auth/AuthStatus", rpc.AuthStatusRequest(), ROOT)
    doors, steps = st.sampled_from([8, 8, 8, 0, 6]), st.lists(step, min_size=1, max_size=longest)
    return st.builds(lambda door, rest: [*_DOOR[:door], *rest, status], doors, steps)


# ---- the member -------------------------------------------------------------------------------------------------------


def members(longest: int) -> st.SearchStrategy[list[Step]]:
    """Draw changes of the members that leave the one voter alone.

    Number 2 is a learner that is there from the start, and stays: an etcd that is to change its members twice within a
    second now and then takes seven to answer, and MemberUpdate makes a learner of these etcds pass for a voter.
    """
    numbers = st.integers(1, 4)
    addresses = st.integers(1, 3).map(lambda number: f"{FIRST_ADDRESS}{number}")
    bad = st.sampled_from([[], ["nonsense"], ["http://127.0.0.1:1/path"], ["ftp://127.0.0.1:1"], ["http://127.0.0.1"]])
    urls = st.one_of(
        st.lists(addresses, min_size=1, max_size=2, unique=True), st.lists(addresses, min_size=1, max_size=1), bad
    )
    change = st.one_of(
        ask("Cluster/MemberAdd", st.builds(rpc.MemberAddRequest, peerURLs=urls, isLearner=st.just(True))),
        ask("Cluster/MemberAdd", st.builds(rpc.MemberAddRequest, peerURLs=bad)),
        ask("Cluster/MemberRemove", st.builds(rpc.MemberRemoveRequest, ID=st.integers(3, 5))),
        ask(
            "Cluster/MemberUpdate",
            st.builds(rpc.MemberUpdateRequest, ID=st.just(9), peerURLs=st.lists(addresses, min_size=1)),
        ),
        ask("Cluster/MemberPromote", st.builds(rpc.MemberPromoteRequest, ID=numbers)),
        ask("Maintenance/MoveLeader", st.builds(rpc.MoveLeaderRequest, targetID=numbers)),
        ask("Cluster/MemberList", st.builds(rpc.MemberListRequest, linearizable=BITS)),
    )
    return st.lists(st.one_of(change, change, change, key_value()), min_size=1, max_size=longest)


def _is_flat(step: Step) -> bool:
    request = step.request if isinstance(step, Ask) else None
    operations = [*request.success, *request.failure] if isinstance(request, rpc.TxnRequest) else ()
    return not any(operation.HasField("request_txn") for operation in operations)


def alarms(longest: int) -> st.SearchStrategy[list[Step]]:
    """Draw what alarms forbid, and downgrades: `3.-1` stands for one minor version below the server's own.

    None is begun: etcd 3.5 does so, and never tells its client, who waits for seven seconds.
    """
    set_off = st.builds(
        rpc.AlarmRequest,
        action=st.sampled_from([1, 1, 2]),
        alarm=st.sampled_from([1, 1, 2]),
        memberID=st.integers(0, 2),
    )
    versions = st.sampled_from(["3.-1", "3.-1.0", "3.-1.9", "3.0", "3.-2", "3.+1.0", "", "x.y", "3", "v3.-1"])
    wrong = versions.filter(lambda version: "3.-1" not in version)
    downgrade = st.one_of(
        st.builds(rpc.DowngradeRequest, action=st.sampled_from([0, 0, 2, 7]), version=versions),
        st.builds(rpc.DowngradeRequest, action=st.just(1), version=wrong),
    )
    change = st.one_of(
        ask("Maintenance/Alarm", set_off),
        ask("Maintenance/Alarm", set_off),
        ask("Maintenance/Alarm", st.builds(rpc.AlarmRequest, alarm=st.integers(0, 2))),
        ask("Maintenance/Downgrade", downgrade),
        ask("Maintenance/Status", st.just(rpc.StatusRequest())),
        st.builds(
            Http, st.just("GET"), st.sampled_from(["/health", "/health?exclude=NOSPACE", "/health?exclude=CORRUPT"])
        ),
    )
    flat = key_value().filter(_is_flat)  # see known.py
    step = st.one_of(change, flat, flat, leases(), others(), watches())
    return st.lists(step, min_size=1, max_size=longest)


# ---- locks and elections ----------------------------------------------------------------------------------------------


def contests(longest: int) -> st.SearchStrategy[list[Step]]:
    """Draw contenders for locks and elections, with leases 4 to 6; 9 does not exist."""
    names, numbers, values = (
        st.sampled_from([b"l", b"m"]),
        st.sampled_from([4, 5, 6, 9]),
        st.sampled_from([b"", b"v", b"w"]),
    )
    keys = st.sampled_from([b"l/4", b"l/5", b"l/6", b"m/4", b"m/5", b"none", b""])
    leader_key = st.builds(
        lambda name, lease, revision: election.LeaderKey(name=name, key=name + b"/%x" % lease, rev=revision, lease=lease),
        st.sampled_from([b"e", b"f"]), st.integers(4, 6), st.integers(5, 12),
    )  # fmt: skip
    leader_keys = st.one_of(leader_key, st.none())
    elections = st.sampled_from([b"e", b"f"])
    step = st.one_of(
        st.builds(Contend, st.just("Lock/Lock"), names, numbers),
        st.builds(Contend, st.just("Lock/Lock"), names, numbers),
        ask("Lock/Unlock", st.builds(lock_pb2.UnlockRequest, key=keys)),
        ask("Lock/Unlock", st.builds(lock_pb2.UnlockRequest, key=keys)),
        st.builds(Contend, st.just("Election/Campaign"), elections, numbers, values),
        st.builds(Contend, st.just("Election/Campaign"), elections, numbers, values),
        ask("Election/Proclaim", st.builds(election.ProclaimRequest, leader=leader_keys, value=values)),
        ask("Election/Resign", st.builds(election.ResignRequest, leader=leader_keys)),
        ask("Election/Leader", st.builds(election.LeaderRequest, name=elections)),
        ask("KV/Range", st.just(rpc.RangeRequest(key=b"\0", range_end=b"\0"))),
        ask("Lease/LeaseRevoke", st.builds(rpc.LeaseRevokeRequest, ID=st.integers(4, 6))),
    )
    grants: list[Step] = [Ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=lease, TTL=3600)) for lease in (4, 5, 6)]
    return st.lists(step, min_size=1, max_size=longest).map(lambda steps: [*grants, *steps])
