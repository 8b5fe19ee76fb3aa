"""Authenticator: a trusted proxy's headers, the client certificate, the bearer token, then (for health alone) nobody.

A token is shown to each kind of `TokenKind` in turn; the first that knows it has spoken.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from controlplane.apiserver.authn import certificates
from controlplane.apiserver.authn.bootstrap_tokens import BootstrapTokens
from controlplane.apiserver.authn.front_proxy import FrontProxy, Issuers
from controlplane.apiserver.authn.oidc import OpenIdTokens
from controlplane.apiserver.authn.static_tokens import StaticTokens
from controlplane.apiserver.authn.tokens import Tokens
from controlplane.apiserver.authn.user import ANONYMOUS, UNAUTHENTICATED, User
from controlplane.apiserver.authn.webhook import WebhookTokens
from controlplane.apiserver.connection import Connection
from controlplane.apiserver.webhooks.reviewer import Reviewer
from controlplane.objects import status

if TYPE_CHECKING:
    from controlplane.apiserver.config import ApiServerConfig
    from controlplane.apiserver.context import Context
    from controlplane.apiserver.services import Services

BEARER_PROTOCOL: Final = "base64url.bearer.authorization.k8s.io."
_BEARER: Final = "bearer "
_NOBODY: Final = User(ANONYMOUS, (UNAUTHENTICATED,))


class TokenKind(Protocol):
    """One way to know a token; `audiences` are those that it should be meant for, where it tells."""

    async def user_of(self, services: Services, token: str, audiences: Sequence[str]) -> User | None: ...


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


def _kinds(config: ApiServerConfig) -> list[TokenKind]:
    """What is configured beside service accounts; ValueError or OSError for files that cannot be used."""
    kinds: list[TokenKind] = []
    if config.token_auth_file is not None:
        kinds.append(StaticTokens(config.token_auth_file))
    if config.enable_bootstrap_token_auth:
        kinds.append(BootstrapTokens())
    if config.oidc_issuer_url:
        kinds.append(OpenIdTokens(config))
    if config.authentication_token_webhook_config_file is not None:
        reviewer = Reviewer(
            config.authentication_token_webhook_config_file, config.authentication_token_webhook_version
        )
        kinds.append(WebhookTokens(reviewer, config.authentication_token_webhook_cache_ttl_seconds))
    return kinds


class Authenticator:
    """Who sends a request. `tokens` are the service accounts'."""

    def __init__(self, tokens: Tokens, config: ApiServerConfig) -> None:
        self.tokens = tokens
        self._kinds = _kinds(config)
        self._may_be_anonymous = config.anonymous_auth
        self._proxy = FrontProxy(config) if config.requestheader_client_ca_file is not None else None
        # With two authorities, TLS alone does not say which of them a certificate is of.
        both = self._proxy is not None and config.client_ca_file is not None
        self._clients = Issuers(config.client_ca_file) if both and config.client_ca_file is not None else None
        self._has_clients = config.client_ca_file is not None

    async def authenticate(self, context: Context, *, may_be_anonymous: bool) -> User:
        """The user; raises 401 for a bad token, and for none where anonymous requests are not served."""
        connection = context.connection
        if connection.certificate is not None:
            user = self._certified(context, connection, connection.certificate)
            if user is not None:
                return user
        header = context.header(b"authorization") or bearer_of_websocket(context)
        if header[: len(_BEARER)].lower() == _BEARER:
            found = await self.user_of_token(context.services, header[len(_BEARER) :].strip())
            if found is None:
                raise status.unauthorized()
            return found[0]
        if header or not (may_be_anonymous and self._may_be_anonymous):
            raise status.unauthorized()
        return _NOBODY

    def _certified(self, context: Context, connection: Connection, certificate: bytes) -> User | None:
        if self._proxy is not None:
            if connection.is_proxy is None:
                connection.is_proxy = self._proxy.trusts(certificate)
            user = self._proxy.user_of(context) if connection.is_proxy else None
            if user is not None:
                return user
        if connection.user is None:
            connection.user = self._user_of_certificate(certificate) or False
        return connection.user if isinstance(connection.user, User) else None

    def _user_of_certificate(self, certificate: bytes) -> User | None:
        if self._clients is not None:
            from cryptography import x509

            if not self._clients.signed(x509.load_der_x509_certificate(certificate)):
                return None
        return certificates.user_of(certificate) if self._has_clients else None

    async def user_of_token(
        self, services: Services, token: str, audiences: Sequence[str] = ()
    ) -> tuple[User, tuple[str, ...]] | None:
        """(user, audiences that the token and the question share); None when nobody knows the token."""
        found = await self.tokens.user_of(services, token, audiences)
        if found is not None or not token:
            return found
        # These tokens are meant for this API: who asks about another audience gets no user.
        shared = tuple(each for each in (audiences or self.tokens.audiences) if each in self.tokens.audiences)
        if not shared:
            return None
        for kind in self._kinds:
            user = await kind.user_of(services, token, shared)
            if user is not None:
                return user, shared
        return None

    async def close(self) -> None:
        """Close what the kinds hold open."""
        for kind in self._kinds:
            if isinstance(kind, WebhookTokens):
                await kind.close()
