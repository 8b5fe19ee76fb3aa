"""Auth: users, roles, and tokens for passwords.

A password is hashed by the member that takes the request, off the loop; the log holds the hash. A token is asked for by
an entry too, so that every member knows it (simple), or is signed here (JWT).
"""

import base64
from collections.abc import Callable
from typing import Any

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import Node
from kvstore.api.passwords import MAX_PASSWORD_BYTES
from kvstore.api.tokens import JwtTokens
from kvstore.mvcc import auth, commands, wire
from kvstore.mvcc import errors as state_errors
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.permissions import Identity
from kvstore.pb import rpc_pb2 as rpc
from kvstore.pb.auth_pb2 import User
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["AuthService"]

_PATH = "/etcdserverpb.Auth/"
MAX_LOGIN_ATTEMPTS = 8  # while users and roles change under it
_CHANGES: dict[str, Any] = {
    "AuthEnable": rpc.AuthEnableRequest,
    "AuthDisable": rpc.AuthDisableRequest,
    "UserDelete": rpc.AuthUserDeleteRequest,
    "UserGrantRole": rpc.AuthUserGrantRoleRequest,
    "UserRevokeRole": rpc.AuthUserRevokeRoleRequest,
    "RoleAdd": rpc.AuthRoleAddRequest,
    "RoleDelete": rpc.AuthRoleDeleteRequest,
    "RoleGrantPermission": rpc.AuthRoleGrantPermissionRequest,
    "RoleRevokePermission": rpc.AuthRoleRevokePermissionRequest,
}
_QUESTIONS: dict[str, Any] = {
    "AuthStatus": rpc.AuthStatusRequest,
    "UserGet": rpc.AuthUserGetRequest,
    "UserList": rpc.AuthUserListRequest,
    "RoleGet": rpc.AuthRoleGetRequest,
    "RoleList": rpc.AuthRoleListRequest,
}


class AuthService:
    """The handlers of etcdserverpb.Auth."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._access = node.access

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        handlers: dict[str, Callable[[Call, bytes], None]] = {
            "UserAdd": self.user_add,
            "UserChangePassword": self.user_change_password,
            "Authenticate": self.authenticate,
            **{name: self._changing(message_type) for name, message_type in _CHANGES.items()},
            **{name: self._asking(message_type) for name, message_type in _QUESTIONS.items()},
        }
        return {_PATH + name: Unary(handler) for name, handler in handlers.items()}

    def _changing(self, message_type: Any) -> Callable[[Call, bytes], None]:
        def handle(call: Call, message: bytes) -> None:
            request: Any = decode(call, message_type, message)
            if request is not None and self._node.admit(call):
                self._node.propose(call, commands.AUTH, auth.encode_command(request))

        return handle

    def _asking(self, message_type: Any) -> Callable[[Call, bytes], None]:
        def handle(call: Call, message: bytes) -> None:
            request: Any = decode(call, message_type, message)
            if request is not None and self._node.admit(call):
                self._node.read(call, lambda: self._answer(call, request))

        return handle

    def _answer(self, call: Call, request: Any) -> None:
        state = self._node.state
        if not self._access.allows(call, lambda identity: self._refuse_question(identity, request)):
            return
        answer = state.ask_auth(request)
        failure = answer if isinstance(answer, Failure) else None
        self._node.answer(call, state.revision, b"" if failure else answer.SerializeToString(), failure)

    def _refuse_question(self, identity: Identity | None, request: Any) -> Failure | None:
        """Root may ask everything; everyone may ask about himself and his own roles."""
        failure = self._node.state.guard.refuse_admin(identity)
        name = "" if identity is None else identity.user
        if failure is None or (isinstance(request, rpc.AuthUserGetRequest) and request.name == name):
            return None
        user = self._node.state.user(name)
        if isinstance(request, rpc.AuthRoleGetRequest) and user is not None and request.role in user.roles:
            return None
        return failure

    # ---- passwords ------------------------------------------------------------------------------------------------

    def user_add(self, call: Call, message: bytes) -> None:
        """Answer UserAdd."""
        request = decode(call, rpc.AuthUserAddRequest, message)
        if request is None or not self._node.admit(call):
            return
        if request.options.no_password:
            request.ClearField("password")
            self._node.propose(call, commands.AUTH, auth.encode_command(request))
        else:
            self._hash_and_propose(call, request)

    def user_change_password(self, call: Call, message: bytes) -> None:
        """Answer UserChangePassword."""
        request = decode(call, rpc.AuthUserChangePasswordRequest, message)
        if request is not None and self._node.admit(call):
            self._hash_and_propose(call, request)

    def _hash_and_propose(self, call: Call, request: Any) -> None:
        if len(request.password.encode()) > MAX_PASSWORD_BYTES:
            errors.refuse(call, state_errors.PASSWORD_TOO_LONG)
            return

        def finish(hashed: bytes) -> None:
            request.hashedPassword = base64.b64encode(hashed).decode()
            request.ClearField("password")
            self._node.propose(call, commands.AUTH, auth.encode_command(request))

        # whoever may not change users must not make us hash either
        if self._access.allows(call, self._node.state.guard.refuse_admin):
            self._access.passwords.hash(request.password, finish)

    def authenticate(self, call: Call, message: bytes) -> None:
        """Answer Authenticate with a token."""
        request = decode(call, rpc.AuthenticateRequest, message)
        if request is not None and self._node.admit(call):
            self._node.read(call, lambda: self._authenticate(call, request, 1))

    def _authenticate(self, call: Call, request: rpc.AuthenticateRequest, attempts: int) -> None:
        guard, user = self._node.state.guard, self._node.state.user(request.name)
        revision = guard.revision
        failure = _refuse_login(guard.is_on, user)
        if failure is not None or user is None:
            errors.refuse(call, failure or state_errors.AUTH_FAILED)
            return

        def finish(is_right: bool) -> None:
            if not is_right:
                errors.refuse(call, state_errors.AUTH_FAILED)
            elif guard.revision != revision and attempts < MAX_LOGIN_ATTEMPTS:
                self._authenticate(call, request, attempts + 1)
            else:
                again = (lambda: self._authenticate(call, request, attempts + 1)) if attempts < MAX_LOGIN_ATTEMPTS else None
                self._issue(call, Identity(request.name, revision), again)

        self._access.passwords.check(request.password, user.password, finish)

    def _issue(self, call: Call, identity: Identity, again: Callable[[], None] | None) -> None:
        tokens = self._access.tokens
        if not isinstance(tokens, JwtTokens):
            login = auth.encode_login(identity.revision, tokens.draw_letters(), identity.user)
            self._node.propose_unchecked(call, commands.AUTH + login, None, again)
        elif tokens.can_issue:
            body = wire.message_field(b"\x12", tokens.issue(identity).encode())
            self._node.answer(call, self._node.state.revision, body)
        else:
            errors.refuse(call, errors.CANNOT_ISSUE)


def _refuse_login(is_on: bool, user: User | None) -> Failure | None:
    if not is_on:
        return state_errors.AUTH_NOT_ENABLED
    if user is None:
        return state_errors.AUTH_FAILED
    return state_errors.NO_PASSWORD_USER if user.options.no_password else None
