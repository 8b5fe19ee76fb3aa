"""The same random users, roles and requests to a real etcd and to ours: the same answers and errors."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kvstore.api import AuthOptions
from kvstore.pb import rpc_pb2 as rpc
from kvstore.pb.auth_pb2 import Permission, UserAddOptions
from kvstore.rpc import Channel, Code, RpcError
from tests.kvstore.api.calls import WatchClient, call
from tests.kvstore.api.fake_member import FakeServer
from tests.kvstore.api.processes import ROOT, needs_etcd, running_etcd

pytestmark = needs_etcd

USERS = ("root", "ann", "bob", "nobody", "")
ROLES = ("root", "reader", "writer", "none", "")
PASSWORDS = ("one", "two")
KEYS = (b"a", b"b", b"c", b"d")
ENDS = (b"", b"b", b"c", b"e", b"\0")
STEPS = 250
NEWER = ROOT / ".venv" / "tools" / "etcd-3.5"


class Side:
    """One of the two servers, with a token for each user."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.tokens: dict[str, str] = {}

    async def ask(self, method: str, request: Any, user: str = "") -> Any:
        metadata = {"token": self.tokens[user]} if user in self.tokens else None
        try:
            answer = await call(self.channel, method, request, metadata)
        except RpcError as error:
            return error.code, error.text
        answer.ClearField("header")
        if method == "Auth/RoleGet" and request.role == "root":
            answer.ClearField("perm")  # what it shows has changed with 3.6
        if method == "Auth/Authenticate":
            self.tokens[request.name] = answer.token
            answer.token = "a token"
        return answer

    async def watch(self, key: bytes, end: bytes, user: str) -> Any:
        metadata = {"token": self.tokens[user]} if user in self.tokens else None
        watch = WatchClient(self.channel, metadata)
        watch.create(key, end)
        answer = await watch.receive()
        watch.stream.cancel()
        # which id a refused watch has, and what a client without a token is told, differs between etcd's versions
        return answer.created, answer.canceled, answer.cancel_reason if user in self.tokens else ""


def change(random: Random) -> tuple[str, Any]:
    """Draw a change of users or roles, or a question about them."""
    user, role = random.choice(USERS), random.choice(ROLES)
    key, end = random.choice(KEYS), random.choice(ENDS)
    if b"\0" < end <= key:  # etcd 3.5.1 takes it, later ones refuse it
        end = b""
    permission = Permission(permType=random.choice(("READ", "WRITE", "READWRITE")), key=key, range_end=end)
    password = random.choice(PASSWORDS)
    return random.choice(
        [
            ("UserAdd", rpc.AuthUserAddRequest(name=user, password=password)),
            ("UserAdd", rpc.AuthUserAddRequest(name=user, options=UserAddOptions(no_password=True))),
            ("UserDelete", rpc.AuthUserDeleteRequest(name=user)),
            ("UserChangePassword", rpc.AuthUserChangePasswordRequest(name=user, password=password)),
            ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=user, role=role)),
            ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=user, role=role)),
            ("UserRevokeRole", rpc.AuthUserRevokeRoleRequest(name=user, role=role)),
            ("RoleAdd", rpc.AuthRoleAddRequest(name=role)),
            ("RoleDelete", rpc.AuthRoleDeleteRequest(role=role)),
            ("RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)),
            ("RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)),
            ("RoleRevokePermission", rpc.AuthRoleRevokePermissionRequest(role=role, key=key, range_end=end)),
            ("UserGet", rpc.AuthUserGetRequest(name=user)),
            ("RoleGet", rpc.AuthRoleGetRequest(role=role)),
            ("UserList", rpc.AuthUserListRequest()),
            ("RoleList", rpc.AuthRoleListRequest()),
            ("Authenticate", rpc.AuthenticateRequest(name=user, password=password)),
            ("Authenticate", rpc.AuthenticateRequest(name=user, password=password)),
        ]
    )


def use(random: Random) -> tuple[str, Any]:
    """Draw a request of a user."""
    key, end, prev_kv = random.choice(KEYS), random.choice(ENDS), random.random() < 0.3
    put = rpc.PutRequest(key=key, value=b"v", prev_kv=prev_kv)
    delete = rpc.DeleteRangeRequest(key=key, range_end=end, prev_kv=prev_kv)
    read = rpc.RangeRequest(key=key, range_end=end, serializable=random.random() < 0.5)
    compare = rpc.Compare(key=random.choice(KEYS), target=rpc.Compare.VERSION, result=rpc.Compare.GREATER)
    operation = random.choice(
        (rpc.RequestOp(request_put=rpc.PutRequest(key=key)), rpc.RequestOp(request_delete_range=delete),
         rpc.RequestOp(request_range=read))
    )  # fmt: skip
    txn = rpc.TxnRequest(compare=[compare] if random.random() < 0.5 else (), success=[operation])
    return random.choice([("KV/Put", put), ("KV/DeleteRange", delete), ("KV/Range", read), ("KV/Txn", txn)])


@pytest.fixture(params=["3.4", "3.5"])
def etcd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "3.5" and not NEWER.exists():
        pytest.skip("etcd 3.5 is not in .venv/tools (make tools)")
    program = {"program": str(NEWER)} if request.param == "3.5" else {}
    with running_etcd(tmp_path, "--bcrypt-cost=4", **program) as endpoint:
        yield endpoint


async def both(sides: list[Side], method: str, request: Any, user: str = "") -> None:
    ours, theirs = await asyncio.gather(*(side.ask(method, request, user) for side in sides))
    assert ours == theirs, (method, request, user)
    if isinstance(theirs, tuple) and theirs[0] == Code.UNAUTHENTICATED:
        for side in sides:
            side.tokens.pop(user, None)


async def set_up(sides: list[Side]) -> None:
    for method, request in (
        ("Auth/AuthEnable", rpc.AuthEnableRequest()),
        ("Auth/UserAdd", rpc.AuthUserAddRequest(name="root", password="one")),
        ("Auth/AuthEnable", rpc.AuthEnableRequest()),
        ("Auth/Authenticate", rpc.AuthenticateRequest(name="root", password="one")),
        ("Auth/UserGrantRole", rpc.AuthUserGrantRoleRequest(user="root", role="root")),
        ("Auth/AuthEnable", rpc.AuthEnableRequest()),
        ("Auth/AuthEnable", rpc.AuthEnableRequest()),
        ("Auth/Authenticate", rpc.AuthenticateRequest(name="root", password="two")),
        ("Auth/Authenticate", rpc.AuthenticateRequest(name="root", password="one")),
    ):
        await both(sides, method, request, "root")


async def log_in_again(sides: list[Side], user: str) -> None:
    """etcd 3.4 keeps some tokens alive that later ones end: nobody is to depend on it."""
    for password in PASSWORDS:
        await both(sides, "Auth/Authenticate", rpc.AuthenticateRequest(name=user, password=password))


@pytest.mark.parametrize("seed", range(3))
async def test_users_roles_and_what_they_may_do_are_the_same(etcd: str, seed: int) -> None:
    random = Random(seed)
    async with FakeServer(auth=AuthOptions(bcrypt_cost=4)) as server, contextlib.AsyncExitStack() as stack:
        theirs = Channel(etcd)
        stack.push_async_callback(theirs.close)
        sides = [Side(server.channel), Side(theirs)]
        await set_up(sides)
        for _ in range(STEPS):
            if random.random() < 0.5:
                method, request = change(random)
                asker = "root" if random.random() < 0.8 else random.choice(USERS)
                await both(sides, "Auth/" + method, request, asker)
                if not isinstance(request, rpc.AuthenticateRequest):
                    for side in sides:
                        for user in USERS[1:]:
                            side.tokens.pop(user, None)
                    for user in ("root", "ann", "bob"):
                        if random.random() < 0.7:
                            await log_in_again(sides, user)
            else:
                method, request = use(random)
                await both(sides, method, request, random.choice(USERS))
            if random.random() < 0.1:
                key, end, user = random.choice(KEYS), random.choice((b"", b"e", b"\0")), random.choice(USERS)
                if end != b"e" or key < end:
                    our_answer, their_answer = [await side.watch(key, end, user) for side in sides]
                    assert our_answer == their_answer, (key, end, user)
