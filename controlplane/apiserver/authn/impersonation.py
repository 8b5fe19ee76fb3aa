"""Impersonate-* headers: act as another user, when RBAC allows `impersonate` on every part of it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from controlplane.apiserver.authn.user import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    User,
    service_account_groups,
    split_service_account,
)
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.context import Context
from controlplane.objects import status

_EXTRA: Final = b"impersonate-extra-"
_AUTHENTICATION: Final = "authentication.k8s.io"


def _values(context: Context, scope_headers: list[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope_headers if key == name]


async def _require(
    context: Context, resource: str, name: str, namespace: str = "", group: str = "", sub: str = ""
) -> None:
    asked = Attributes("impersonate", group, "v1", resource, sub, name, namespace)
    await context.services.authorizer.require(context.user, asked)


async def impersonated(context: Context) -> User:
    """The user that the headers name; raises 403, or 400 for groups without a user."""
    headers: list[tuple[bytes, bytes]] = context.all_headers
    name = context.header(b"impersonate-user")
    if not name:
        raise status.bad_request("requested impersonation without impersonating a user")
    account = split_service_account(name)
    if account is not None:
        await _require(context, "serviceaccounts", account[1], account[0])
    else:
        await _require(context, "users", name)
    groups = _values(context, headers, b"impersonate-group")
    for group in groups:
        await _require(context, "groups", group)
    uid = context.header(b"impersonate-uid")
    if uid:
        await _require(context, "uids", uid, group=_AUTHENTICATION)
    extra: dict[str, Any] = {}
    for key, value in headers:
        if key.startswith(_EXTRA):
            named = unquote(key[len(_EXTRA) :].decode("latin-1"))
            await _require(context, "userextras", value.decode("latin-1"), group=_AUTHENTICATION, sub=named)
            extra.setdefault(named, []).append(value.decode("latin-1"))
    if not groups and account is not None:
        groups = list(service_account_groups(account[0]))
    if name == ANONYMOUS:
        groups = groups or [UNAUTHENTICATED]
    elif AUTHENTICATED not in groups:
        groups.append(AUTHENTICATED)
    return User(name, tuple(groups), uid, {key: tuple(values) for key, values in extra.items()})
