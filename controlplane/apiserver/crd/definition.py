"""One CRD, compiled once: its versions, schemas, printers; and the resource that travels with each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from controlplane.apiserver.crd.printer import printer_for
from controlplane.apiserver.tables.printer import Printer
from controlplane.objects.kinds import Resource
from controlplane.objects.scheme import version_rank
from controlplane.objects.structural import Node

Object = dict[str, Any]


class Version:
    """One version of a CRD."""

    def __init__(self, raw: Object) -> None:
        self.raw = raw
        self.name: str = raw["name"]
        self.served = bool(raw.get("served"))
        self.storage = bool(raw.get("storage"))
        self.deprecated = bool(raw.get("deprecated"))
        subresources: Object = raw.get("subresources") or {}
        self.has_status = subresources.get("status") is not None
        self.scale: Object | None = subresources.get("scale")
        self.selectable: tuple[str, ...] = tuple(each["jsonPath"] for each in raw.get("selectableFields") or ())

    @property
    def schema(self) -> Object:
        """Its openAPIV3Schema; of a version without one, a schema that keeps everything."""
        found: Object | None = (self.raw.get("schema") or {}).get("openAPIV3Schema")
        return found if found is not None else {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

    @cached_property
    def node(self) -> Node:
        return Node.compile(self.schema)

    @cached_property
    def has_defaults(self) -> bool:
        return self.node.has_defaults()

    @cached_property
    def has_rules(self) -> bool:
        return self.node.has_rules()

    @cached_property
    def printer(self) -> Printer:
        return printer_for(self.raw.get("additionalPrinterColumns") or [])


class Definition:
    """A CRD at one revision."""

    def __init__(self, crd: Object) -> None:
        self.crd = crd
        spec: Object = crd["spec"]
        self.name: str = crd["metadata"]["name"]
        self.uid: str = crd["metadata"].get("uid", "")
        self.revision = int(crd["metadata"].get("resourceVersion") or 0)
        self.group: str = spec["group"]
        self.namespaced = spec.get("scope") == "Namespaced"
        self.preserve_all = bool(spec.get("preserveUnknownFields"))
        self.conversion: Object = spec.get("conversion") or {"strategy": "None"}
        self.versions = sorted((Version(raw) for raw in spec["versions"]), key=lambda each: version_rank(each.name))
        self.by_name = {version.name: version for version in self.versions}
        self.storage = next(version for version in self.versions if version.storage)
        # Names are those that were accepted; while some are in conflict the resource goes without them.
        self.names: Object = (crd.get("status") or {}).get("acceptedNames") or spec["names"]
        self.is_terminating = crd["metadata"].get("deletionTimestamp") is not None

    @property
    def plural(self) -> str:
        return self.names["plural"]  # type: ignore[no-any-return]

    @property
    def kind(self) -> str:
        return self.names["kind"]  # type: ignore[no-any-return]

    @property
    def selectable(self) -> tuple[str, ...]:
        """Selectable fields of any version, as selectors name them ("spec.color")."""
        return tuple(dict.fromkeys(path.lstrip(".") for version in self.versions for path in version.selectable))

    def resource(self, version: Version) -> CustomResource:
        names = self.names
        singular = names.get("singular") or self.kind.lower()
        return CustomResource(
            self.group, version.name, self.plural, self.kind, self.namespaced, singular, self, version
        )


@dataclass(frozen=True, slots=True)
class CustomResource(Resource):
    """A version of a CRD as a resource; `definition` and `of` are as they were when the request came."""

    definition: Definition = field(compare=False, repr=False, kw_only=False, default=None)  # type: ignore[assignment]
    of: Version = field(compare=False, repr=False, default=None)  # type: ignore[assignment]

    @property
    def stored(self) -> CustomResource:
        """The version in which objects are stored."""
        return self.definition.resource(self.definition.storage)
