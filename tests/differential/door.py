"""Tokens: who has logged in to one server, and root's way back in after a sequence."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import RpcError
from tests.differential.scenes import PASSWORDS, PEOPLE
from tests.differential.steps import ROOT

Call = Callable[[str, Message, str], Awaitable[Any]]  # method, request, token

_KEEP_TOKENS = {"Auth/UserGet", "Auth/RoleGet", "Auth/UserList", "Auth/RoleList", "Auth/AuthStatus", "Auth/Authenticate",
                "Auth/RoleGrantPermission", "Auth/RoleAdd"}  # fmt: skip


class Door:
    """`call` asks the server with a token, or none."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._tokens: dict[str, str] = {}
        self.is_on = False
        self.is_clean = False
        self.revision = 0  # of the users, when the sequence began

    async def token(self, user: str) -> str:
        """Return a token of a user; "" of nobody, and of one who cannot log in."""
        if not self.is_on or not user:
            return ""
        if user not in (ROOT, *PEOPLE):
            return user
        for password in PASSWORDS if user not in self._tokens else ():
            try:
                request = rpc.AuthenticateRequest(name=user, password=password)
                self._tokens[user] = (await self._call("Auth/Authenticate", request, "")).token
            except RpcError:
                continue
        return self._tokens.get(user, "")

    def asked(self, method: str, is_done: bool) -> None:
        """Note what was asked: which tokens a change of users ends differs between versions, so all are had anew."""
        if method.startswith("Auth/"):
            self.is_clean = False
        if method in ("Auth/AuthEnable", "Auth/AuthDisable") and is_done:
            self.is_on = method == "Auth/AuthEnable"
        if method.startswith("Auth/") and method not in _KEEP_TOKENS:
            self._tokens.clear()

    async def open(self) -> None:
        """Switch auth off and forget all users and roles."""
        if self.is_clean:
            return
        if self.is_on:
            await self._call("Auth/AuthDisable", rpc.AuthDisableRequest(), await self.token(ROOT))
        for user in (await self._call("Auth/UserList", rpc.AuthUserListRequest(), "")).users:
            await self._call("Auth/UserDelete", rpc.AuthUserDeleteRequest(name=user), "")
        for role in (await self._call("Auth/RoleList", rpc.AuthRoleListRequest(), "")).roles:
            await self._call("Auth/RoleDelete", rpc.AuthRoleDeleteRequest(role=role), "")
        self._tokens.clear()
        self.is_on, self.is_clean = False, True
        with contextlib.suppress(RpcError):  # etcd 3.4 does not know it
            self.revision = (await self._call("Auth/AuthStatus", rpc.AuthStatusRequest(), "")).authRevision
