"""OpenID Connect: ID tokens of one issuer, verified with the keys that its discovery document names.

The issuer is asked when its first token comes, and again (not more often than REFRESH_SECONDS) when a token names a key that is
not known. Only asymmetric algorithms that are configured count; `alg: none` and shared secrets never do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from controlplane.apiserver.authn.user import AUTHENTICATED, User
from controlplane.machinery.http import ConnectionLost, HttpClient

if TYPE_CHECKING:
    from controlplane.apiserver.config import ApiServerConfig
    from controlplane.apiserver.services import Services

REFRESH_SECONDS: Final = 10.0
TIMEOUT_SECONDS: Final = 10.0
LEEWAY_SECONDS: Final = 10
MOST_KEYS: Final = 64
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")

Claims = Mapping[str, Any]

logger = logging.getLogger(__name__)


class IssuerUnavailable(Exception):
    """The issuer did not tell its keys; the message says why."""


class Issuer:
    """The keys of one issuer, by key id."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        self.url = url
        self._context = ssl.create_default_context(cafile=ca_file)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._keys: dict[str, Any] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def keys(self, wanted: str | None) -> list[Any]:
        """The key of that id, or all of them for a token that names none; fetched when it is not known."""
        if wanted not in self._keys:
            async with self._asking:
                if wanted not in self._keys and self._is_due():
                    await self._refresh()
        if wanted is None:
            return list(self._keys.values())
        return [self._keys[wanted]] if wanted in self._keys else []

    def _is_due(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at < REFRESH_SECONDS:
            return False
        self._asked_at = now
        return True

    async def _refresh(self) -> None:
        import jwt

        document = await self._fetch(self.url.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self.url:
            raise IssuerUnavailable(f"the discovery document is of {document.get('issuer')!r}")
        found = await self._fetch(str(document.get("jwks_uri")))
        keys: dict[str, Any] = {}
        for entry in list(found.get("keys") or ())[:MOST_KEYS]:
            if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
                continue
            try:
                keys[str(entry.get("kid", ""))] = jwt.PyJWK(entry)
            except jwt.PyJWTError as error:
                logger.warning("a key of %s cannot be used: %s", self.url, error)
        self._keys = keys

    async def _fetch(self, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise IssuerUnavailable(f"{url} is no https address")
        client = HttpClient(f"https://{parts.netloc}", self._context)
        try:
            target = parts.path or "/"
            target += f"?{parts.query}" if parts.query else ""
            answer = await client.request("GET", target, {"accept": "application/json"}, b"", TIMEOUT_SECONDS)
            document = json.loads(answer.body) if answer.status == 200 else None
        except (ConnectionLost, OSError, ValueError) as error:
            raise IssuerUnavailable(f"{url}: {error}") from error
        finally:
            await client.close()
        if not isinstance(document, dict):
            raise IssuerUnavailable(f"{url} answered {answer.status} without a document")
        return document


class OpenIdTokens:
    """Users by ID token. ValueError for a configuration that is not whole."""

    def __init__(self, config: ApiServerConfig) -> None:
        if not config.oidc_client_id:
            raise ValueError("--oidc-issuer-url and --oidc-client-id go together")
        if urlsplit(config.oidc_issuer_url).scheme != "https":
            raise ValueError("--oidc-issuer-url must be an https address")
        unknown = set(config.oidc_signing_algs) - set(ALGORITHMS)
        if unknown:
            raise ValueError(f"--oidc-signing-algs {sorted(unknown)}: known are {', '.join(ALGORITHMS)}")
        self._config = config
        ca_file = str(config.oidc_ca_file) if config.oidc_ca_file is not None else None
        self._issuer = Issuer(config.oidc_issuer_url, ca_file)

    async def user_of(self, services: Services, token: str, audiences: Sequence[str]) -> User | None:
        """The user of a good token of the issuer; nobody for any other, and while the issuer cannot be asked."""
        try:
            claims = await self._claims(token)
        except IssuerUnavailable as error:
            logger.warning("oidc: %s", error)
            return None
        if claims is None or not _is_timely(claims, services.environment.now().timestamp()):
            return None
        return user_of_claims(self._config, claims)

    async def _claims(self, token: str) -> Claims | None:
        """The claims of a token with a good signature, issuer and audience."""
        import jwt

        unchecked: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            header = jwt.get_unverified_header(token)
            # Whose token it is, before anybody is asked for keys: most tokens are the cluster's own.
            told = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return None
        if told.get("iss") != self._issuer.url or header.get("alg") not in self._config.oidc_signing_algs:
            return None
        for key in await self._issuer.keys(header.get("kid")):
            if key.algorithm_name != header["alg"] and key.key_type != _family(header["alg"]):
                continue
            try:
                found: Claims = jwt.decode(
                    token,
                    key.key,
                    algorithms=[header["alg"]],
                    audience=self._config.oidc_client_id,
                    issuer=self._issuer.url,
                    options=unchecked,
                )
            except jwt.PyJWTError:
                continue
            return found
        return None


def _family(algorithm: str) -> str:
    return "EC" if algorithm.startswith("ES") else "RSA"


def _is_timely(claims: Claims, now: float) -> bool:
    """A token that does not say when it ends has ended."""
    end, begin = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(end, int | float) or not isinstance(begin, int | float):
        return False
    return begin - LEEWAY_SECONDS <= now <= end + LEEWAY_SECONDS


def user_of_claims(config: ApiServerConfig, claims: Claims) -> User | None:
    """Name and groups as configured; None when a claim that is needed is not there."""
    if any(claims.get(name) != value for name, value in config.oidc_required_claims):
        return None
    claim = config.oidc_username_claim
    name = claims.get(claim)
    if not isinstance(name, str) or not name:
        return None
    if claim == "email" and claims.get("email_verified", True) is not True:
        return None
    prefix = config.oidc_username_prefix
    if not prefix:
        prefix = "" if claim == "email" else f"{config.oidc_issuer_url}#"
    elif prefix == "-":
        prefix = ""
    told = claims.get(config.oidc_groups_claim) if config.oidc_groups_claim else None
    told = [told] if isinstance(told, str) else told or []
    if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
        return None
    groups = [f"{config.oidc_groups_prefix}{group}" for group in told]
    if AUTHENTICATED not in groups:
        groups.append(AUTHENTICATED)
    return User(f"{prefix}{name}", tuple(groups))
