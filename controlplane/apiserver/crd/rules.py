"""CEL rules of a schema (x-kubernetes-validations): see `controlplane.apiserver.cel`."""

from __future__ import annotations

from typing import Any

from controlplane.apiserver.crd.definition import CustomResource
from controlplane.objects.status import FieldError

Object = dict[str, Any]


def broken(resource: CustomResource, obj: Object, old: Object | None) -> list[FieldError]:
    """The rules that an object breaks."""
    if not resource.of.has_rules:
        return []
    from controlplane.apiserver.cel import schema_rules

    return schema_rules.broken(resource.of.node, obj, old)
