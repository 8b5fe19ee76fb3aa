"""The scheme: every built-in resource with its verbs, short names and subresources, and the schema of each kind.

scheme = Scheme.load()                         once a process, before it forks
scheme.find("apps", "v1", "deployments")       -> ResourceInfo | None
scheme.kind("apps", "v1", "Deployment")        -> ResourceInfo | None
scheme.schema("apps", "v1", "Deployment")      -> Schema; also Scale, Eviction, DeleteOptions, ...
scheme.groups()                                -> groups in priority order, each with its versions, preferred first
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

from controlplane.objects import data, traits
from controlplane.objects.kinds import Resource
from controlplane.objects.schema import Definitions, Schema

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
# kinds that every group has
META_KINDS: Final = frozenset({"DeleteOptions", "Status", "WatchEvent", "Patch"})


@dataclass(frozen=True, slots=True)
class Subresource:
    """`name` below an object; (group, version, kind) is what its requests and answers carry."""

    name: str
    verbs: tuple[str, ...]
    group: str
    version: str
    kind: str


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """All that discovery says of a resource, and the definitions of its kind and of its list ("" for no list)."""

    resource: Resource
    verbs: tuple[str, ...]
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    subresources: tuple[Subresource, ...]
    definition: str
    list_definition: str

    @property
    def storage_version_hash(self) -> str:
        """What discovery calls storageVersionHash: the same for all servers that store the same version."""
        resource = self.resource
        digest = hashlib.sha256(f"{resource.group}/{resource.version}/{resource.kind}".encode()).digest()
        return base64.b64encode(digest[:8]).decode()

    @property
    def list_kind(self) -> str:
        return f"{self.resource.kind}List"

    def subresource(self, name: str) -> Subresource | None:
        return next((found for found in self.subresources if found.name == name), None)


@dataclass(frozen=True, slots=True)
class Group:
    """An API group; `versions[0]` is the preferred one."""

    name: str
    versions: tuple[str, ...]


def version_rank(version: str) -> tuple[int, int, int]:
    """Kubernetes' order of versions: v2, v1, v1beta2, v1beta1, v1alpha1."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if found is None:
        return (3, 0, 0)
    stage = {None: 0, "beta": 1, "alpha": 2}[found.group(2)]
    return (stage, -int(found.group(1)), -int(found.group(3) or 0))


def _subresources(entry: Mapping[str, Any]) -> Iterable[Subresource]:
    key = (entry["group"], entry["plural"])
    for part in entry["subresources"]:
        yield Subresource(part["name"], tuple(part["verbs"]), part["group"], part["version"], part["kind"])
    for name, (verbs, kind) in traits.CONNECT.get(key, {}).items():
        yield Subresource(name, verbs, entry["group"], entry["version"], kind)


def _info(entry: Mapping[str, Any]) -> ResourceInfo:
    group, plural = entry["group"], entry["plural"]
    key = (group, plural)
    without = traits.WITHOUT_VERBS.get(key, frozenset())
    return ResourceInfo(
        Resource(group, entry["version"], plural, entry["kind"], entry["namespaced"]),
        tuple(verb for verb in entry["verbs"] if verb not in without),
        traits.SHORT_NAMES.get(key, ()),
        traits.CATEGORIES.get(key, ()),
        tuple(sorted(_subresources(entry), key=lambda found: found.name)),
        entry["definition"],
        entry.get("list", ""),
    )


class Scheme:
    """Immutable. `resources` are sorted by group priority, version (preferred first) and plural."""

    def __init__(self, resources: Iterable[ResourceInfo], definitions: Definitions) -> None:
        ranks = {name: at for at, name in enumerate(traits.GROUP_ORDER)}

        def order(info: ResourceInfo) -> tuple[Any, ...]:
            resource = info.resource
            rank = ranks.get(resource.group, len(ranks))
            return (rank, resource.group, version_rank(resource.version), resource.plural)

        self.resources: tuple[ResourceInfo, ...] = tuple(sorted(resources, key=order))
        self.definitions = definitions
        self._by_plural = {
            (info.resource.group, info.resource.version, info.resource.plural): info for info in self.resources
        }
        self._by_kind = {
            (info.resource.group, info.resource.version, info.resource.kind): info for info in self.resources
        }

    @staticmethod
    def load() -> "Scheme":
        """The built-in scheme: read once, the same value for every caller."""
        return _load()

    def find(self, group: str, version: str, plural: str) -> ResourceInfo | None:
        return self._by_plural.get((group, version, plural))

    def kind(self, group: str, version: str, kind: str) -> ResourceInfo | None:
        return self._by_kind.get((group, version, kind))

    def of(self, resource: Resource) -> ResourceInfo:
        """Raises KeyError for a resource that is not served."""
        return self._by_plural[(resource.group, resource.version, resource.plural)]

    @cached_property
    def _other_kinds(self) -> dict[tuple[str, str, str], str]:
        """Kinds without a resource of their own: Scale, Eviction, TokenRequest, lists."""
        found: dict[tuple[str, str, str], str] = {}
        for name in self.definitions:
            for mark in self.definitions.raw[name].get("x-kubernetes-group-version-kind") or ():
                found.setdefault((mark["group"], mark["version"], mark["kind"]), name)
        return found

    def definition(self, group: str, version: str, kind: str) -> str:
        """The name of a kind's definition. Raises KeyError."""
        info = self._by_kind.get((group, version, kind))
        if info is not None:
            return info.definition
        if kind in META_KINDS:
            return _META + kind
        return self._other_kinds[(group, version, kind)]

    def schema(self, group: str, version: str, kind: str) -> Schema:
        """Raises KeyError for a kind that there is not."""
        return self.definitions.get(self.definition(group, version, kind))

    def schema_of(self, resource: Resource) -> Schema:
        """Raises KeyError for a resource that is not served."""
        return self.definitions.get(self.of(resource).definition)

    def groups(self) -> tuple[Group, ...]:
        """In priority order; the core group first."""
        found: dict[str, dict[str, None]] = {}
        for info in self.resources:
            found.setdefault(info.resource.group, {})[info.resource.version] = None
        return tuple(Group(name, tuple(versions)) for name, versions in found.items())

    def in_version(self, group: str, version: str) -> tuple[ResourceInfo, ...]:
        """The resources of one group and version, sorted by plural; empty when it is not served."""
        return tuple(
            info for info in self.resources if info.resource.group == group and info.resource.version == version
        )

    def with_resources(self, more: Iterable[ResourceInfo], definitions: Mapping[str, Any]) -> "Scheme":
        """A scheme that also serves these (custom resources)."""
        return Scheme((*self.resources, *more), self.definitions.extended(definitions))


@cache
def _load() -> Scheme:
    kinds = data.section("kinds")
    return Scheme((_info(entry) for entry in kinds["resources"]), Definitions(kinds["schemas"]))
