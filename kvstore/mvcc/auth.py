"""Users and roles, in etcd's own records: what the log does to them, and what can be asked about them.

Every change of them makes the auth revision grow, and voids the permissions worked out so far. Passwords come hashed.

    KINDS                      the byte that stands before each request in an auth command
    run(working, index, payload)        -> (encoded response without its header, failure)
    ask(working, kind, request)         the questions: UserGet, UserList, RoleGet, RoleList, Status
"""

import base64
import struct
from collections.abc import Callable
from typing import Any

from kvstore.mvcc import errors, layout
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.permissions import ROOT
from kvstore.mvcc.working import TokenChange, Working
from kvstore.pb import rpc_pb2 as rpc
from kvstore.pb.auth_pb2 import Permission, Role, User

__all__ = ["KINDS", "ask", "encode_command", "encode_login", "find_role", "find_user", "load", "run"]

KINDS: dict[type[Any], bytes] = {
    rpc.AuthEnableRequest: b"e",
    rpc.AuthDisableRequest: b"d",
    rpc.AuthUserAddRequest: b"a",
    rpc.AuthUserDeleteRequest: b"r",
    rpc.AuthUserChangePasswordRequest: b"p",
    rpc.AuthUserGrantRoleRequest: b"g",
    rpc.AuthUserRevokeRoleRequest: b"v",
    rpc.AuthRoleAddRequest: b"A",
    rpc.AuthRoleDeleteRequest: b"R",
    rpc.AuthRoleGrantPermissionRequest: b"G",
    rpc.AuthRoleRevokePermissionRequest: b"V",
}
LOGIN = b"L"  # encode_login: a token for a user whose password was right
_LOGIN_HEAD = struct.Struct(">Q16s")  # revision at which the password was looked at, letters of the token
_REVISION = struct.Struct(">Q")
_EVERYTHING = Permission(permType=Permission.READWRITE, range_end=b"\0")

_Answer = tuple[bytes, Failure | None]
_DONE: _Answer = (b"", None)


def load(working: Working) -> None:
    """Fill what `working` keeps at hand of the tables."""
    get = working.transaction.get
    working.is_auth_enabled = get(layout.AUTH, layout.AUTH_ENABLED_KEY) == b"\1"
    stored = get(layout.AUTH, layout.AUTH_REVISION_KEY)
    working.auth_revision = 1 if stored is None else _REVISION.unpack(stored)[0]
    working.permissions.clear()


def encode_command(request: Any) -> bytes:
    """Return the payload of an auth command."""
    encoded: bytes = request.SerializeToString()
    return KINDS[type(request)] + encoded


def encode_login(revision: int, letters: str, user: str) -> bytes:
    """Return the payload of an auth command that issues a simple token: `letters` (16 of them), a dot, the raft index."""
    return LOGIN + _LOGIN_HEAD.pack(revision, letters.encode()) + user.encode()


def run(working: Working, index: int, payload: bytes) -> _Answer:
    """Apply an auth command whose author has been found to be allowed to."""
    if payload[:1] == LOGIN:
        return _login(working, index, payload[1:])
    request_type, handler = _HANDLERS[payload[:1]]
    return handler(working, request_type.FromString(payload[1:]))


def find_user(working: Working, name: str) -> User | None:
    """Return a user."""
    stored = working.transaction.get(layout.AUTH_USERS, name.encode()) if name else None
    return None if stored is None else User.FromString(stored)


def find_role(working: Working, name: str) -> Role | None:
    """Return a role."""
    stored = working.transaction.get(layout.AUTH_ROLES, name.encode()) if name else None
    return None if stored is None else Role.FromString(stored)


def _keep_user(working: Working, user: User) -> _Answer:
    working.transaction.put(layout.AUTH_USERS, user.name, user.SerializeToString())
    return _changed(working)


def _keep_role(working: Working, role: Role) -> _Answer:
    working.transaction.put(layout.AUTH_ROLES, role.name, role.SerializeToString())
    return _changed(working)


def _changed(working: Working) -> _Answer:
    working.auth_revision += 1
    working.transaction.put(layout.AUTH, layout.AUTH_REVISION_KEY, _REVISION.pack(working.auth_revision))
    working.permissions.clear()
    return _DONE


def _login(working: Working, index: int, payload: bytes) -> _Answer:
    revision, letters = _LOGIN_HEAD.unpack_from(payload)
    name = payload[_LOGIN_HEAD.size :].decode()
    if not working.is_auth_enabled:
        return b"", errors.AUTH_NOT_ENABLED
    if revision != working.auth_revision:  # the password may have changed since it was looked at
        return b"", errors.AUTH_OLD_REVISION
    if find_user(working, name) is None:
        return b"", errors.AUTH_FAILED
    token = f"{letters.decode()}.{index}"
    working.token_changes.append(TokenChange(name, token))
    return rpc.AuthenticateResponse(token=token).SerializeToString(), None


def _enable(working: Working, request: rpc.AuthEnableRequest) -> _Answer:
    root = find_user(working, ROOT)
    if working.is_auth_enabled:
        return _DONE
    if root is None:
        return b"", errors.ROOT_USER_NOT_FOUND
    if ROOT not in root.roles:
        return b"", errors.ROOT_ROLE_NOT_GRANTED
    working.is_auth_enabled = True
    working.transaction.put(layout.AUTH, layout.AUTH_ENABLED_KEY, b"\1")
    return _DONE


def _disable(working: Working, request: rpc.AuthDisableRequest) -> _Answer:
    if not working.is_auth_enabled:
        return _DONE
    working.is_auth_enabled = False
    working.transaction.put(layout.AUTH, layout.AUTH_ENABLED_KEY, b"\0")
    working.token_changes.append(TokenChange())
    return _changed(working)


def _user_add(working: Working, request: rpc.AuthUserAddRequest) -> _Answer:
    if not request.name:
        return b"", errors.USER_EMPTY
    if find_user(working, request.name) is not None:
        return b"", errors.USER_EXISTS
    user = User(name=request.name.encode(), options=request.options)
    user.options.SetInParent()
    if not request.options.no_password:
        user.password = base64.b64decode(request.hashedPassword)
    return _keep_user(working, user)


def _user_delete(working: Working, request: rpc.AuthUserDeleteRequest) -> _Answer:
    if working.is_auth_enabled and request.name == ROOT:
        return b"", errors.INVALID_AUTH_MANAGEMENT
    if find_user(working, request.name) is None:
        return b"", errors.USER_NOT_FOUND
    working.transaction.delete(layout.AUTH_USERS, request.name.encode())
    working.token_changes.append(TokenChange(request.name))
    return _changed(working)


def _change_password(working: Working, request: rpc.AuthUserChangePasswordRequest) -> _Answer:
    user = find_user(working, request.name)
    if user is None:
        return b"", errors.USER_NOT_FOUND
    user.password = base64.b64decode(request.hashedPassword)
    working.token_changes.append(TokenChange(request.name))
    return _keep_user(working, user)


def _grant_role(working: Working, request: rpc.AuthUserGrantRoleRequest) -> _Answer:
    user = find_user(working, request.user)
    if user is None:
        return b"", errors.USER_NOT_FOUND
    if request.role != ROOT and find_role(working, request.role) is None:
        return b"", errors.ROLE_NOT_FOUND
    if request.role in user.roles:
        return _DONE
    user.roles[:] = sorted([*user.roles, request.role], key=str.encode)
    return _keep_user(working, user)


def _revoke_role(working: Working, request: rpc.AuthUserRevokeRoleRequest) -> _Answer:
    if working.is_auth_enabled and request.name == ROOT and request.role == ROOT:
        return b"", errors.INVALID_AUTH_MANAGEMENT
    user = find_user(working, request.name)
    if user is None:
        return b"", errors.USER_NOT_FOUND
    if request.role not in user.roles:
        return b"", errors.ROLE_NOT_GRANTED
    user.roles.remove(request.role)
    return _keep_user(working, user)


def _role_add(working: Working, request: rpc.AuthRoleAddRequest) -> _Answer:
    if not request.name:
        return b"", errors.ROLE_EMPTY
    if find_role(working, request.name) is not None:
        return b"", errors.ROLE_EXISTS
    return _keep_role(working, Role(name=request.name.encode()))


def _role_delete(working: Working, request: rpc.AuthRoleDeleteRequest) -> _Answer:
    if working.is_auth_enabled and request.role == ROOT:
        return b"", errors.INVALID_AUTH_MANAGEMENT
    if find_role(working, request.role) is None:
        return b"", errors.ROLE_NOT_FOUND
    working.transaction.delete(layout.AUTH_ROLES, request.role.encode())
    for name, stored in list(working.transaction.scan(layout.AUTH_USERS)):
        user = User.FromString(stored)
        if request.role in user.roles:
            user.roles.remove(request.role)
            working.transaction.put(layout.AUTH_USERS, name, user.SerializeToString())
            working.token_changes.append(TokenChange(name.decode()))
    return _changed(working)


def _grant_permission(working: Working, request: rpc.AuthRoleGrantPermissionRequest) -> _Answer:
    if not request.HasField("perm"):
        return b"", errors.PERMISSION_NOT_GIVEN
    wanted = request.perm
    if not wanted.key or (wanted.range_end and wanted.range_end != b"\0" and wanted.key >= wanted.range_end):
        return b"", errors.INVALID_AUTH_MANAGEMENT
    role = find_role(working, request.name)
    if role is None:
        return b"", errors.ROLE_NOT_FOUND
    kept = [one for one in role.keyPermission if (one.key, one.range_end) != (wanted.key, wanted.range_end)]
    if wanted in role.keyPermission:
        return _DONE
    permissions = sorted([*kept, wanted], key=lambda one: (one.key, one.range_end))
    return _keep_role(working, Role(name=role.name, keyPermission=permissions))


def _revoke_permission(working: Working, request: rpc.AuthRoleRevokePermissionRequest) -> _Answer:
    role = find_role(working, request.role)
    if role is None:
        return b"", errors.ROLE_NOT_FOUND
    kept = [one for one in role.keyPermission if (one.key, one.range_end) != (request.key, request.range_end)]
    if len(kept) == len(role.keyPermission):
        return b"", errors.PERMISSION_NOT_GRANTED
    return _keep_role(working, Role(name=role.name, keyPermission=kept))


_HANDLERS: dict[bytes, tuple[type[Any], Callable[[Working, Any], _Answer]]] = {
    KINDS[request_type]: (request_type, handler)
    for request_type, handler in (
        (rpc.AuthEnableRequest, _enable),
        (rpc.AuthDisableRequest, _disable),
        (rpc.AuthUserAddRequest, _user_add),
        (rpc.AuthUserDeleteRequest, _user_delete),
        (rpc.AuthUserChangePasswordRequest, _change_password),
        (rpc.AuthUserGrantRoleRequest, _grant_role),
        (rpc.AuthUserRevokeRoleRequest, _revoke_role),
        (rpc.AuthRoleAddRequest, _role_add),
        (rpc.AuthRoleDeleteRequest, _role_delete),
        (rpc.AuthRoleGrantPermissionRequest, _grant_permission),
        (rpc.AuthRoleRevokePermissionRequest, _revoke_permission),
    )
}


def ask(working: Working, request: Any) -> Any:
    """Answer a question with its response message (without its header), or a Failure."""
    if isinstance(request, rpc.AuthStatusRequest):
        return rpc.AuthStatusResponse(enabled=working.is_auth_enabled, authRevision=working.auth_revision)
    if isinstance(request, rpc.AuthUserListRequest):
        return rpc.AuthUserListResponse(users=[name.decode() for name in working.transaction.keys(layout.AUTH_USERS)])
    if isinstance(request, rpc.AuthRoleListRequest):
        return rpc.AuthRoleListResponse(roles=[name.decode() for name in working.transaction.keys(layout.AUTH_ROLES)])
    if isinstance(request, rpc.AuthUserGetRequest):
        user = find_user(working, request.name)
        return errors.USER_NOT_FOUND if user is None else rpc.AuthUserGetResponse(roles=user.roles)
    role = find_role(working, request.role)
    if role is None:
        return errors.ROLE_NOT_FOUND
    return rpc.AuthRoleGetResponse(perm=[_EVERYTHING] if request.role == ROOT else role.keyPermission)  # since etcd 3.6
