"""Users, roles and tokens over the API of one member."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.api import ApiLimits, AuthOptions
from kvstore.mvcc import commands
from kvstore.mvcc.permissions import Granted, Identity, _Intervals, decode_identity, encode_identity
from kvstore.pb import rpc_pb2 as rpc
from kvstore.pb.auth_pb2 import Permission
from kvstore.rpc import RpcError
from tests.kvstore.api.calls import WatchClient, call
from tests.kvstore.api.fake_member import FakeServer

DENIED = "etcdserver: permission denied"


@pytest.fixture
async def guarded() -> AsyncIterator[FakeServer]:
    """Auth is on; root and ann have the password `pw`, ann may read and write app/*."""
    async with FakeServer(auth=AuthOptions(bcrypt_cost=4)) as server:
        app = Permission(permType=Permission.READWRITE, key=b"app/", range_end=b"app0")
        for method, request in (
            ("UserAdd", rpc.AuthUserAddRequest(name="root", password="pw")),
            ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user="root", role="root")),
            ("RoleAdd", rpc.AuthRoleAddRequest(name="app")),
            ("RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name="app", perm=app)),
            ("UserAdd", rpc.AuthUserAddRequest(name="ann", password="pw")),
            ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user="ann", role="app")),
            ("AuthEnable", rpc.AuthEnableRequest()),
        ):
            await call(server.channel, f"Auth/{method}", request)
        yield server


async def log_in(server: FakeServer, user: str) -> dict[str, str]:
    answer = await call(server.channel, "Auth/Authenticate", rpc.AuthenticateRequest(name=user, password="pw"))
    return {"token": answer.token}


async def held(server: FakeServer, count: int) -> None:
    """Return when so many proposals are held back."""
    for _ in range(100_000):
        if len(server.member.held) >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError("they were not proposed")


async def refusal(server: FakeServer, method: str, request: Any, metadata: dict[str, str] | None = None) -> str:
    with pytest.raises(RpcError) as caught:
        await call(server.channel, method, request, metadata)
    return caught.value.text


async def test_a_permission_counts_from_the_next_request_on(guarded: FakeServer) -> None:
    root, ann = await log_in(guarded, "root"), await log_in(guarded, "ann")
    put = rpc.PutRequest(key=b"app/x")
    await call(guarded.channel, "KV/Put", put, ann)
    revoke = rpc.AuthRoleRevokePermissionRequest(role="app", key=b"app/", range_end=b"app0")
    await call(guarded.channel, "Auth/RoleRevokePermission", revoke, root)
    assert await refusal(guarded, "KV/Put", put, ann) == DENIED
    assert await refusal(guarded, "KV/Range", rpc.RangeRequest(key=b"app/x"), ann) == DENIED


async def test_what_is_on_its_way_when_a_permission_goes_is_refused_where_it_is_applied(guarded: FakeServer) -> None:
    root, ann = await log_in(guarded, "root"), await log_in(guarded, "ann")
    guarded.member.holds_proposals = True
    revoke = rpc.AuthUserRevokeRoleRequest(name="ann", role="app")
    first = asyncio.create_task(call(guarded.channel, "Auth/UserRevokeRole", revoke, root))
    await held(guarded, 1)
    second = asyncio.create_task(call(guarded.channel, "KV/Put", rpc.PutRequest(key=b"app/x"), ann))
    await held(guarded, 2)
    guarded.member.release()
    await first
    with pytest.raises(RpcError, match=DENIED):
        await second
    assert guarded.state.newest(b"app/x") is None


async def test_a_request_that_met_a_change_of_users_is_tried_again(guarded: FakeServer) -> None:
    root, ann = await log_in(guarded, "root"), await log_in(guarded, "ann")
    guarded.member.holds_proposals = True
    first = asyncio.create_task(call(guarded.channel, "Auth/RoleAdd", rpc.AuthRoleAddRequest(name="other"), root))
    await held(guarded, 1)
    second = asyncio.create_task(call(guarded.channel, "KV/Put", rpc.PutRequest(key=b"app/x"), ann))
    await held(guarded, 2)
    guarded.member.release()
    await first
    await second
    assert guarded.state.newest(b"app/x") is not None


async def test_who_says_nothing_or_shows_a_token_that_is_none_is_told_so(guarded: FakeServer) -> None:
    read = rpc.RangeRequest(key=b"app/x")
    assert await refusal(guarded, "KV/Range", read) == "etcdserver: user name is empty"
    for token in ("nonsense", "abcdefghijklmnop.999999"):
        assert await refusal(guarded, "KV/Range", read, {"token": token}) == "etcdserver: invalid auth token"
    ann = await log_in(guarded, "ann")
    assert (await call(guarded.channel, "KV/Range", read, {"authorization": "Bearer " + ann["token"]})).count == 0


async def test_root_alone_may_administer(guarded: FakeServer) -> None:
    ann = await log_in(guarded, "ann")
    for method, request in (
        ("KV/Compact", rpc.CompactionRequest(revision=1)),
        ("Maintenance/Alarm", rpc.AlarmRequest()),
        ("Maintenance/HashKV", rpc.HashKVRequest()),
        ("Maintenance/Defragment", rpc.DefragmentRequest()),
        ("Auth/UserList", rpc.AuthUserListRequest()),
        ("Auth/RoleGet", rpc.AuthRoleGetRequest(role="root")),
        ("Auth/UserAdd", rpc.AuthUserAddRequest(name="eve", password="pw")),
    ):
        assert await refusal(guarded, method, request, ann) == DENIED, method
        assert await refusal(guarded, method, request) == "etcdserver: user name is empty", method
    assert (await call(guarded.channel, "Auth/UserGet", rpc.AuthUserGetRequest(name="ann"), ann)).roles == ["app"]
    assert len((await call(guarded.channel, "Auth/RoleGet", rpc.AuthRoleGetRequest(role="app"), ann)).perm) == 1
    await call(guarded.channel, "Maintenance/HashKV", rpc.HashKVRequest(), await log_in(guarded, "root"))


async def test_a_lease_with_keys_of_others_is_not_ended_nor_shown(guarded: FakeServer) -> None:
    root, ann = await log_in(guarded, "root"), await log_in(guarded, "ann")
    lease = (await call(guarded.channel, "Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=60), ann)).ID
    await call(guarded.channel, "KV/Put", rpc.PutRequest(key=b"app/x", lease=lease), ann)
    await call(guarded.channel, "KV/Put", rpc.PutRequest(key=b"secret", lease=lease), root)
    keys = rpc.LeaseTimeToLiveRequest(ID=lease, keys=True)
    assert await refusal(guarded, "Lease/LeaseTimeToLive", keys, ann) == DENIED
    assert await refusal(guarded, "KV/Put", rpc.PutRequest(key=b"app/y", lease=lease), ann) == DENIED
    assert await refusal(guarded, "Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease), ann) == DENIED
    await call(guarded.channel, "Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease), root)


async def test_a_nested_transaction_is_looked_into(guarded: FakeServer) -> None:
    ann = await log_in(guarded, "ann")
    inner = rpc.TxnRequest(failure=[rpc.RequestOp(request_put=rpc.PutRequest(key=b"secret"))])
    txn = rpc.TxnRequest(success=[rpc.RequestOp(request_txn=inner)])
    assert await refusal(guarded, "KV/Txn", txn, ann) == DENIED


async def test_a_watch_that_is_not_allowed_is_created_and_canceled_with_the_reason(guarded: FakeServer) -> None:
    ann = await log_in(guarded, "ann")
    watch = WatchClient(guarded.channel, ann)
    watch.create(b"secret")
    answer = await watch.receive()
    assert (answer.created, answer.canceled, answer.watch_id) == (True, True, -1)
    assert answer.cancel_reason == f"rpc error: code = PermissionDenied desc = {DENIED}"
    watch.create(b"app/x")
    assert not (await watch.receive()).canceled


async def test_users_roles_and_alarms_survive_a_snapshot(guarded: FakeServer) -> None:
    guarded.state.commit()
    async with FakeServer(auth=AuthOptions(bcrypt_cost=4)) as other:
        other.state.restore(guarded.state.snapshot())
        assert other.state.guard.is_on
        assert other.state.guard.revision == guarded.state.guard.revision
        ann = await log_in(other, "ann")
        await call(other.channel, "KV/Put", rpc.PutRequest(key=b"app/x"), ann)


async def test_what_the_log_holds_has_no_password(guarded: FakeServer) -> None:
    await call(
        guarded.channel, "Auth/UserAdd", rpc.AuthUserAddRequest(name="eve", password="swordfish"), await log_in(guarded, "root")
    )
    assert not any(b"swordfish" in proposal for proposal in guarded.member.proposals)


async def test_the_server_itself_needs_no_user(guarded: FakeServer) -> None:
    guarded.state.apply(guarded.state.applied_index + 1, 3, commands.PUT + rpc.PutRequest(key=b"a").SerializeToString())
    assert guarded.state.newest(b"a") is None, "a bare command is a client's that said nothing"
    revision = guarded.state.revision
    outcome = guarded.state.apply(
        guarded.state.applied_index + 1,
        3,
        commands.AUTO_COMPACT + rpc.CompactionRequest(revision=revision).SerializeToString(),
    )
    assert outcome.failure is None


async def test_a_cluster_that_is_corrupt_changes_nothing_any_more() -> None:
    async with FakeServer(ApiLimits()) as server:
        raised = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=5, alarm=rpc.CORRUPT)
        await call(server.channel, "Maintenance/Alarm", raised)
        assert await refusal(server, "KV/Put", rpc.PutRequest(key=b"a")) == "etcdserver: corrupt cluster"
        assert not (await call(server.channel, "KV/Range", rpc.RangeRequest(key=b"a"))).count, "etcd lets reads pass"
        status = await call(server.channel, "Maintenance/Status", rpc.StatusRequest())
        assert list(status.errors) == ["memberID:5 alarm:CORRUPT "]
        raised.action = rpc.AlarmRequest.DEACTIVATE
        answer = await call(server.channel, "Maintenance/Alarm", raised)
        assert [one.memberID for one in answer.alarms] == [5]
        await call(server.channel, "KV/Put", rpc.PutRequest(key=b"a"))


def test_an_identity_is_read_as_it_was_written() -> None:
    for identity in (None, Identity("ann", 1), Identity("ünï", 1 << 40)):
        assert decode_identity(encode_identity(identity) + b"Prest") == (identity, b"Prest")


_KEYS = st.binary(max_size=2)


@given(st.lists(st.tuples(_KEYS, _KEYS | st.none()), max_size=6), _KEYS, _KEYS)
def test_a_range_is_allowed_when_every_key_of_it_is(ranges: list[tuple[bytes, bytes | None]], start: bytes, end: bytes) -> None:
    whole = [(low, high) for low, high in ranges if high is None or low < high]
    granted = Granted(False, _Intervals(whole), _Intervals([]))
    universe = [bytes(key) for length in range(3) for key in _all_keys(length)]
    wanted = [key for key in universe if start <= key < end]

    def is_covered(key: bytes) -> bool:
        return any(low <= key and (high is None or key < high) for low, high in whole)

    if end > start and end != b"\0" and all(byte in b"\0\1\2" for byte in start + end):
        allowed = granted.may_read(start, end)
        assert not allowed or all(is_covered(key) for key in wanted)
        if not allowed:  # then some edge is not covered
            edges = {start, *(low for low, _ in whole), *(high for _, high in whole if high is not None)}
            assert any(start <= edge < end and not is_covered(edge) for edge in edges)


def _all_keys(length: int) -> list[bytes]:
    return [b""] if not length else [key + bytes((byte,)) for key in _all_keys(length - 1) for byte in range(3)]


