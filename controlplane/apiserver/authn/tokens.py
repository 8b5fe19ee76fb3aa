"""Service account tokens: JSON Web Tokens signed with ES256 or RS256, bound to an account and perhaps a pod, secret or node.

A token is good while its signature, issuer, audience and time are, while its account exists with the same uid, and while
what it is bound to exists. Signatures are verified once and remembered; what can change is looked up in watch caches.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.authn.user import CREDENTIAL_ID, User, service_account_groups, service_account_name
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.cache import WatchCache
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.objects import meta
from controlplane.objects.kinds import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

REMEMBERED_TOKENS: Final = 10_000
LEEWAY_SECONDS: Final = 10
DELETED_LEEWAY_SECONDS: Final = 60
_CURVES: Final = {"secp256r1": 256, "secp384r1": 384, "secp521r1": 512}
_PRIVATE: Final = "kubernetes.io"
_BOUND: Final[tuple[tuple[str, Resource], ...]] = (("pod", PODS), ("secret", SECRETS), ("node", NODES))


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, its id (hash of its DER, as Kubernetes has it) and its algorithm."""

    id: str
    algorithm: str
    public: Any

    def document(self) -> Object:
        """The JSON Web Key."""
        import json

        from jwt.algorithms import ECAlgorithm, RSAAlgorithm

        kind = ECAlgorithm if self.algorithm.startswith("ES") else RSAAlgorithm
        found = kind.to_jwk(self.public)
        document: Object = json.loads(found) if isinstance(found, str) else dict(found)
        return {**document, "use": "sig", "kid": self.id, "alg": self.algorithm}


def _key(public: Any) -> Key:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    identity = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    algorithm = f"ES{_CURVES[public.curve.name]}" if isinstance(public, EllipticCurvePublicKey) else "RS256"
    return Key(identity, algorithm, public)


def _load_public(path: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    pem = path.read_bytes()
    if b"CERTIFICATE" in pem:
        return load_pem_x509_certificate(pem).public_key()
    if b"PRIVATE" in pem:
        return load_pem_private_key(pem, None).public_key()
    return load_pem_public_key(pem)


def _load_private(path: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(path.read_bytes(), None)


@dataclass(frozen=True, slots=True)
class Issued:
    """A token and when it ends (RFC 3339)."""

    token: str
    expires: str


@dataclass(frozen=True, slots=True)
class _Witness:
    """An object as a cache had it when it was looked at."""

    cache: WatchCache
    entry: Entry
    is_ending: bool

    def holds(self) -> bool:
        """Whether the cache has it still, unchanged; what is being deleted is looked at anew each time."""
        return not self.is_ending and self.cache.get(self.entry.key) is self.entry


@dataclass(frozen=True, slots=True)
class _Known:
    """Whose a token is, between two times (Unix seconds) and while its witnesses hold."""

    user: User
    audiences: tuple[str, ...]
    not_before: float
    not_after: float
    witnesses: tuple[_Witness, ...]


class Tokens:
    """Verifies and issues the tokens of one issuer."""

    def __init__(
        self, issuer: str, audiences: Sequence[str], key_files: Sequence[Path], signing_file: Path | None
    ) -> None:
        self._issuer = issuer
        self.audiences = tuple(audiences)
        self._signing = _load_private(signing_file) if signing_file is not None else None
        keys = [_key(_load_public(path)) for path in key_files]
        if self._signing is not None:
            keys.insert(0, _key(self._signing.public_key()))
        self._keys = {key.id: key for key in keys}
        self._verified: OrderedDict[str, Object] = OrderedDict()
        self._users: dict[str, _Known] = {}

    def algorithms(self) -> list[str]:
        return sorted({key.algorithm for key in self._keys.values()})

    def public_keys(self) -> list[Object]:
        """JSON Web Keys."""
        return [key.document() for key in self._keys.values()]

    @property
    def can_issue(self) -> bool:
        return self._signing is not None

    def _claims(self, token: str) -> Object | None:
        """The claims of a token with a good signature and issuer; None for any other."""
        import jwt

        known = self._verified.get(token)
        if known is not None:
            self._verified.move_to_end(token)
            return known
        unchecked: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            wanted = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            return None
        for key in [self._keys[wanted]] if wanted in self._keys else list(self._keys.values()):
            try:
                claims: Object = jwt.decode(
                    token, key.public, algorithms=[key.algorithm], issuer=self._issuer, options=unchecked
                )
            except jwt.PyJWTError:
                continue
            self._verified[token] = claims
            if len(self._verified) > REMEMBERED_TOKENS:
                self._verified.popitem(last=False)
            return claims
        return None

    async def user_of(
        self, services: Services, token: str, audiences: Sequence[str] = ()
    ) -> tuple[User, tuple[str, ...]] | None:
        """(user, audiences that the token and the question share) of a good token, else None."""
        now = services.environment.now().timestamp()
        if not audiences and (known := self._users.get(token)) is not None:
            if known.not_before <= now <= known.not_after and all(witness.holds() for witness in known.witnesses):
                return known.user, known.audiences
            del self._users[token]
        claims = self._claims(token) if token.count(".") == 2 else None
        if claims is None:
            return None
        if now > float(claims.get("exp") or 0) + LEEWAY_SECONDS or now < float(claims.get("nbf") or 0) - LEEWAY_SECONDS:
            return None
        told = claims.get("aud") or []
        told = [told] if isinstance(told, str) else told
        shared = tuple(each for each in (audiences or self.audiences) if each in told)
        if not shared:
            return None
        witnesses: list[_Witness] = []
        user = await _bound_user(services, claims, witnesses)
        if user is None:
            return None
        if not audiences and all(witness.holds() for witness in witnesses):
            if len(self._users) >= REMEMBERED_TOKENS:
                self._users.clear()
            start, end = float(claims.get("nbf") or 0), float(claims.get("exp") or 0)
            self._users[token] = _Known(user, shared, start - LEEWAY_SECONDS, end + LEEWAY_SECONDS, tuple(witnesses))
        return user, shared

    def issue(
        self, services: Services, account: Object, seconds: int, audiences: Sequence[str], bound: dict[str, Object]
    ) -> Issued:
        """A new token for an account; `bound` may have pod, secret and node, each {name, uid}."""
        import jwt

        assert self._signing is not None
        key = next(iter(self._keys.values()))
        moment = services.environment.now()
        now = int(moment.timestamp())
        metadata = account["metadata"]
        private: Object = {
            "namespace": metadata["namespace"],
            **bound,
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        claims = {
            "aud": list(audiences or self.audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self._issuer,
            "jti": services.environment.uid(),
            _PRIVATE: private,
            "nbf": now,
            "sub": service_account_name(metadata["namespace"], metadata["name"]),
        }
        token = jwt.encode(claims, self._signing, algorithm=key.algorithm, headers={"kid": key.id})
        from datetime import timedelta

        return Issued(token, meta.format_time(moment + timedelta(seconds=seconds)))


async def _living(
    services: Services, resource: Resource, namespace: str, reference: Any, witnesses: list[_Witness]
) -> Object | None:
    """The object that a token names, when it exists with that uid; what that rests on is added to `witnesses`."""
    if not isinstance(reference, dict):
        return None
    key = layout.key(
        resource.group, resource.plural, namespace if resource.namespaced else "", str(reference.get("name"))
    )
    cache = await services.caches.ready(resource)
    entry = cache.get(key.encode()) or await services.store.get(key)
    if entry is None:
        return None
    obj = entry.object()
    ended = obj["metadata"].get("deletionTimestamp")
    witnesses.append(_Witness(cache, entry, ended is not None))
    if ended is not None:
        late = services.environment.now() - meta.parse_time(ended)
        if late.total_seconds() > DELETED_LEEWAY_SECONDS:
            return None
    return obj if obj["metadata"].get("uid") == reference.get("uid") else None


async def _bound_user(services: Services, claims: Object, witnesses: list[_Witness]) -> User | None:
    private: Any = claims.get(_PRIVATE) or {}
    namespace = private.get("namespace", "")
    account = await _living(services, SERVICE_ACCOUNTS, namespace, private.get("serviceaccount"), witnesses)
    if account is None:
        return None
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
    for name, resource in _BOUND:
        reference = private.get(name)
        if reference is None:
            continue
        # The node of a pod-bound token is only told along; a token bound to the node itself ends with the node.
        is_told = name == "node" and private.get("pod") is not None
        if not is_told and await _living(services, resource, namespace, reference, witnesses) is None:
            return None
        if name in ("pod", "node") and "uid" in reference:
            extra[f"authentication.kubernetes.io/{name}-name"] = (reference["name"],)
            extra[f"authentication.kubernetes.io/{name}-uid"] = (reference["uid"],)
    name = account["metadata"]["name"]
    return User(
        service_account_name(namespace, name), service_account_groups(namespace), account["metadata"]["uid"], extra
    )
