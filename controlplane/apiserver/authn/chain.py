"""Authenticator: the client certificate, then the bearer token, then (where that is allowed) nobody."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.authn import certificates
from controlplane.apiserver.authn.tokens import Tokens
from controlplane.apiserver.authn.user import ANONYMOUS, UNAUTHENTICATED, User
from controlplane.objects import status

if TYPE_CHECKING:
    from controlplane.apiserver.context import Context

BEARER_PROTOCOL: Final = "base64url.bearer.authorization.k8s.io."
_BEARER: Final = "bearer "
_NOBODY: Final = User(ANONYMOUS, (UNAUTHENTICATED,))


def bearer_of_websocket(context: Context) -> str:
    """The authorization that a browser's WebSocket, which can set no header, names as a subprotocol; "" without one."""
    for word in context.header(b"sec-websocket-protocol").split(","):
        found = word.strip()
        if found.startswith(BEARER_PROTOCOL):
            encoded = found[len(BEARER_PROTOCOL) :]
            try:
                return f"Bearer {base64.urlsafe_b64decode(encoded + '=' * (-len(encoded) % 4)).decode('ascii')}"
            except ValueError:
                raise status.unauthorized() from None
    return ""


class Authenticator:
    """Who sends a request."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    async def authenticate(self, context: Context, *, may_be_anonymous: bool) -> User:
        """The user; raises 401 for a bad token, and for none where anonymous requests are not served."""
        connection = context.connection
        if connection.certificate is not None:
            if connection.user is None:
                connection.user = certificates.user_of(connection.certificate)
            if isinstance(connection.user, User):
                return connection.user
        header = context.header(b"authorization") or bearer_of_websocket(context)
        if header[: len(_BEARER)].lower() == _BEARER:
            found = await self.tokens.user_of(context.services, header[len(_BEARER) :].strip())
            if found is None:
                raise status.unauthorized()
            return found[0]
        if header or not may_be_anonymous:
            raise status.unauthorized()
        return _NOBODY
