"""Who may ask a node what: client certificates and bearer tokens; each question is put to the API server.

A certificate of the cluster's authority names its user itself; a token is shown to the API server (TokenReview). Whether the
user may is a SubjectAccessReview about the node: `proxy`, or `log`, `stats`, `metrics` and the like for their paths. Answers are
remembered for a while. Members of `system:masters` may do everything, which the API server would say too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS

MASTERS: Final = "system:masters"
AUTHENTICATED: Final = "system:authenticated"
KNOWN_TOKEN_SECONDS: Final = 120.0
ALLOWED_SECONDS: Final = 300.0
REFUSED_SECONDS: Final = 30.0
REMEMBERED: Final = 1024

_VERBS: Final = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# First word of a path -> subresource of nodes. `proxy` allows everything; the finer ones are asked first.
_SUBRESOURCES: Final = {
    "stats": "stats",
    "metrics": "metrics",
    "logs": "log",
    "healthz": "healthz",
    "pods": "pods",
    "configz": "configz",
}
_FINE: Final = frozenset({"healthz", "pods", "configz"})  # who has `proxy` has these too, as in Kubernetes

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks. `extra` as sorted pairs, so that this is a key."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of_certificate(cls, certificate: Mapping[str, Any]) -> Requester | None:
        """From a verified certificate as ssl's getpeercert gives it; None when it has no common name."""
        fields = [field for names in certificate.get("subject", ()) for field in names]
        names = [value for kind, value in fields if kind == "commonName"]
        groups = tuple(value for kind, value in fields if kind == "organizationName")
        return cls(names[0], (*groups, AUTHENTICATED)) if names else None

    @classmethod
    def of_review(cls, status: Mapping[str, Any]) -> Requester | None:
        """From the status of a TokenReview."""
        user = status.get("user") or {}
        if status.get("authenticated") is not True or not user.get("username"):
            return None
        extra = tuple(sorted((key, tuple(values)) for key, values in (user.get("extra") or {}).items()))
        return cls(user["username"], tuple(user.get("groups") or ()), user.get("uid") or "", extra)


class _Memory(Generic[Key, Value]):
    """Values with an end each, at most REMEMBERED; on the running loop's time."""

    def __init__(self) -> None:
        self._values: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        found = self._values.get(key)
        return found[1] if found is not None and found[0] > asyncio.get_running_loop().time() else None

    def put(self, key: Key, value: Value, seconds: float) -> None:
        self._values[key] = (asyncio.get_running_loop().time() + seconds, value)
        self._values.move_to_end(key)
        if len(self._values) > REMEMBERED:
            self._values.popitem(last=False)


def subresources(path: str) -> tuple[str, ...]:
    """The subresources of nodes of which one must be allowed for a path that begins with one slash."""
    found = _SUBRESOURCES.get(path.partition("?")[0].split("/")[1], "proxy")
    return (found, "proxy") if found in _FINE else (found,)


class Access:
    """Asks the API as the node itself. Its failures (ApiError, ConnectionLost) are raised: they are no refusals."""

    def __init__(self, client: ApiClient, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._tokens: _Memory[bytes, Requester] = _Memory()
        self._verdicts: _Memory[tuple[Requester, str, str], bool] = _Memory()

    async def requester(self, certificate: Mapping[str, Any] | None, authorization: str) -> Requester | None:
        """Who asks; None for nobody that is known."""
        if certificate:
            return Requester.of_certificate(certificate)
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        key = hashlib.sha256(token.encode()).digest()
        known = self._tokens.get(key)
        if known is None:
            review = {
                "apiVersion": TOKEN_REVIEWS.group_version,
                "kind": TOKEN_REVIEWS.kind,
                "metadata": {},
                "spec": {"token": token},
            }
            answer = await self._client.create(TOKEN_REVIEWS, review)
            known = Requester.of_review(answer.get("status") or {})
            if known is not None:
                self._tokens.put(key, known, KNOWN_TOKEN_SECONDS)
        return known

    async def allows(self, requester: Requester, method: str, path: str) -> bool:
        """Whether the requester may send this."""
        if MASTERS in requester.groups:
            return True
        verb = _VERBS.get(method, "")
        for subresource in subresources(path):
            if await self._may(requester, verb, subresource):
                return True
        return False

    async def _may(self, requester: Requester, verb: str, subresource: str) -> bool:
        key = (requester, verb, subresource)
        known = self._verdicts.get(key)
        if known is None:
            attributes = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource}
            spec: dict[str, Any] = {
                "user": requester.name,
                "groups": list(requester.groups),
                "resourceAttributes": {**attributes, "name": self._node_name},
            }
            if requester.uid:
                spec["uid"] = requester.uid
            if requester.extra:
                spec["extra"] = {name: list(values) for name, values in requester.extra}
            review = {
                "apiVersion": SUBJECT_ACCESS_REVIEWS.group_version,
                "kind": SUBJECT_ACCESS_REVIEWS.kind,
                "metadata": {},
                "spec": spec,
            }
            answer = await self._client.create(SUBJECT_ACCESS_REVIEWS, review)
            known = (answer.get("status") or {}).get("allowed") is True
            self._verdicts.put(key, known, ALLOWED_SECONDS if known else REFUSED_SECONDS)
        return known
