"""The documents of one scheme, built when somebody asks and remembered while they are asked for."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from controlplane.apiserver.openapi import gnostic, v2, v3
from controlplane.apiserver.openapi.routes import group_path
from controlplane.objects import data
from controlplane.objects.scheme import Scheme

V2_PROTOBUF_ACCEPT: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # what the answer must say
RELEASE: Final = "v1.37.0"
_MOST_REMEMBERED: Final = 6  # documents; the largest is about a megabyte

# Part of every hash: changes when the way documents are made does.
_EDITION: Final = "1"


class OpenApi:
    """Documents of a scheme. A scheme never changes; another one gets another OpenApi."""

    def __init__(self, scheme: Scheme, release: str = RELEASE) -> None:
        self._scheme = scheme
        self._release = release
        self._remembered: OrderedDict[str, bytes] = OrderedDict()
        self._versions = {
            group_path(group.name, version): (group.name, version)
            for group in scheme.groups()
            for version in group.versions
        }
        self._hashes: dict[str, str] = {}

    def hash_of(self, path: str) -> str | None:
        """The hash of the document at "apis/apps/v1", without making it; None when it is not served."""
        at = self._versions.get(path)
        if at is None:
            return None
        if path not in self._hashes:
            infos = self._scheme.in_version(*at)
            raw = self._scheme.definitions.raw
            parts: list[Any] = [_EDITION, self._release, path]
            parts += [[info.resource.plural, info.verbs, raw[info.definition]] for info in infos]
            self._hashes[path] = hashlib.sha512(msgspec.json.encode(parts, order="sorted")).hexdigest().upper()
        return self._hashes[path]

    def index(self) -> bytes:
        """/openapi/v3."""
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self.hash_of(path)}"}
            for path in sorted(self._versions)
        }
        return msgspec.json.encode({"paths": paths})

    def document(self, path: str) -> bytes | None:
        """/openapi/v3/PATH as JSON; None when it is not served."""
        at = self._versions.get(path)
        if at is None:
            return None
        return self._remember(path, lambda: msgspec.json.encode(self._v3(*at)))

    def v2(self) -> bytes:
        """/openapi/v2 as JSON."""
        return self._remember("v2", lambda: msgspec.json.encode(self._v2()))

    def v2_protobuf(self) -> bytes:
        """/openapi/v2 as gnostic's protobuf."""
        return self._remember("v2 protobuf", lambda: gnostic.encode(self._v2()))

    def v2_hash(self) -> str:
        """What may stand in the ETag of both forms of /openapi/v2."""
        hashes = "".join(self.hash_of(path) or "" for path in sorted(self._versions))
        return hashlib.sha512(hashes.encode()).hexdigest().upper()

    def _v3(self, group: str, version: str) -> dict[str, Any]:
        return v3.document(self._scheme, group, version, data.section("descriptions"), self._release)

    def _v2(self) -> dict[str, Any]:
        return v2.document(self._scheme, data.section("descriptions"), self._release)

    def _remember(self, name: str, make: Callable[[], bytes]) -> bytes:
        found = self._remembered.get(name)
        if found is None:
            found = self._remembered[name] = make()
            while len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(name)
        return found
