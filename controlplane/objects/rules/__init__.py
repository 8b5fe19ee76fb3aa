"""Semantic validation: what Kubernetes refuses although its shape is right. One file a family; the registry is the list.

    validate_create(resource, schema, obj) -> list[FieldError]                     empty when all is well
    validate_update(resource, schema, new, old, subresource="") -> list[FieldError]

Answer `status.invalid(resource, name, errors)` when there are any. Call them after decoding and defaults, with the
metadata the server has set. A family exports `RULES: {(group, plural): Rules(check, update)}`: `check(obj)` holds at
every write, `update(new, old)` says what may not change. Required fields and enumerations of all kinds come from tables.
"""

from typing import Any, Final

from controlplane.objects.kinds import Resource
from controlplane.objects.rules import (
    apps,
    autoscaling,
    batch,
    certificates,
    core,
    definitions,
    metadata,
    networking,
    pod,
    policy,
    rbac,
    service,
    storage,
    structure,
    webhooks,
)
from controlplane.objects.rules.rule import Rules
from controlplane.objects.schema import Schema
from controlplane.objects.status import FieldError

Object = dict[str, Any]

REGISTRY: Final[dict[tuple[str, str], Rules]] = {
    **core.RULES,
    **pod.RULES,
    **service.RULES,
    **apps.RULES,
    **batch.RULES,
    **autoscaling.RULES,
    **networking.RULES,
    **policy.RULES,
    **rbac.RULES,
    **storage.RULES,
    **certificates.RULES,
    **definitions.RULES,
    **webhooks.RULES,
}


def _all(resource: Resource, schema: Schema, obj: Object) -> list[FieldError]:
    """Rules speak first: where they say more of a field than that it is required, that is what counts."""
    rules = REGISTRY.get((resource.group, resource.plural))
    errors = rules.check(obj) if rules else []
    known = {error.field for error in errors}
    return errors + [error for error in structure.check(schema, obj) if error.field not in known]


def validate_create(resource: Resource, schema: Schema, obj: Object) -> list[FieldError]:
    """Everything wrong with a new object."""
    rules = REGISTRY.get((resource.group, resource.plural))
    more = rules.create(obj) if rules and rules.create else []
    return [*metadata.check(resource, obj), *more, *_all(resource, schema, obj)]


def validate_update(
    resource: Resource, schema: Schema, new: Object, old: Object, subresource: str = ""
) -> list[FieldError]:
    """Everything wrong with a change. A change of status is checked for its metadata and by what the kind says of it."""
    errors = metadata.check_update(resource, new, old)
    rules = REGISTRY.get((resource.group, resource.plural))
    if subresource == "status":
        of_status = rules.subresources.get(subresource) if rules else None
        return errors + of_status(new, old) if of_status else errors
    update = rules.subresources.get(subresource, rules.update) if rules else None
    if update is not None:
        errors += update(new, old)
    known = {error.field for error in errors}
    return errors + [error for error in _all(resource, schema, new) if error.field not in known]
