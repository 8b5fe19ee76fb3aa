"""What happens to an object between the body and the store: decode, default, admit, prepare, allocate, validate.

The order is Kubernetes': defaults first, then mutating admission, then the strategy of the kind, then validation, then
validating admission. All steps give new values; nothing is changed in place.
"""

from __future__ import annotations

from typing import Any, Final, Literal, cast

from controlplane.apiserver import admission, negotiate
from controlplane.apiserver.admission.attributes import Attributes, Operation
from controlplane.apiserver.cel import expressions
from controlplane.apiserver.context import Context
from controlplane.apiserver.crd import instances
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.registry import versions
from controlplane.apiserver.registry.table import strategy_of
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import defaults, rules, status, validation
from controlplane.objects.kinds import Resource
from controlplane.objects.status import FieldError

Mode = Literal["Strict", "Warn", "Ignore"]
_MODES: Final = ("Strict", "Warn", "Ignore")
# What the server alone writes in metadata.
_SERVER_OWNED: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_DROPPED: Final = ("selfLink",)


def field_validation(context: Context) -> Mode:
    """The query's fieldValidation (Warn when absent, as Kubernetes has it); raises 400."""
    mode = context.query.get("fieldValidation") or "Warn"
    if mode not in _MODES:
        supported = ", ".join(f'"{each}"' for each in sorted(_MODES))
        raise status.bad_request(f'fieldValidation: Unsupported value: "{mode}": supported values: {supported}')
    return cast(Mode, mode)


def said_twice(raw: bytes, mode: Mode) -> list[str]:
    """Complaints about keys that a body of JSON or YAML has twice."""
    if raw.lstrip()[:1] == b"{":
        try:
            return [f'duplicate field "{path}"' for path in validation.duplicate_fields(raw)]
        except ValueError:
            pass  # YAML may begin so, too
    found = negotiate.repeated_keys(raw)
    return ["yaml: unmarshal errors:\n  " + "\n  ".join(found)] if found and mode == "Strict" else found


def decoded(context: Context, resource: Resource, obj: Object, raw: bytes = b"") -> Object:
    """The object pruned to its schema, in canonical form; unknown fields become errors or warnings."""
    mode = field_validation(context)
    twice = said_twice(raw, mode) if raw and mode != "Ignore" else []
    if isinstance(resource, CustomResource):
        found, warnings = instances.decoded(context.services.scheme, resource, obj, mode, twice)
        context.warnings.extend(warnings)
        return found
    schema = context.services.scheme.schema_of(resource)
    found, warnings = validation.decode_object(resource, schema, obj, mode, twice)
    context.warnings.extend(warnings)
    return found


def defaulted(context: Context, resource: Resource, obj: Object) -> Object:
    """The object with its kind's defaults."""
    if isinstance(resource, CustomResource):
        return instances.defaulted(resource, obj)
    return defaults.apply_defaults(resource, obj)


def attributes(
    context: Context, resource: Resource, operation: Operation, obj: Object, old: Object, subresource: str = ""
) -> Attributes:
    """What admission is told."""
    metadata = (obj or old).get("metadata") or {}
    return Attributes(
        context.services,
        context.user,
        operation,
        resource,
        context.info.path.namespace or metadata.get("namespace", ""),
        metadata.get("name", "") or context.info.path.name,
        subresource,
        obj,
        old,
        context.is_dry_run,
        context.warnings,
        context.annotations,
    )


def named(context: Context, resource: Resource, obj: Object) -> Object:
    """The object with the namespace of the path; raises 400 where body and path disagree."""
    metadata = obj["metadata"]
    namespace = context.info.path.namespace if resource.namespaced else ""
    given = metadata.get("namespace") or ""
    if resource.namespaced and given and given != namespace:
        why = "the namespace of the provided object does not match the namespace sent on the request"
        raise status.bad_request(why)
    if given == namespace:
        return obj
    changed = {name: value for name, value in metadata.items() if name != "namespace"}
    if namespace:
        changed["namespace"] = namespace
    return {**obj, "metadata": changed}


def fresh_metadata(context: Context, resource: Resource, obj: Object) -> Object:
    """A new object with the metadata that the server writes; raises 400 or 422."""
    metadata: dict[str, Any] = dict(obj["metadata"])
    if metadata.pop("resourceVersion", ""):
        raise status.bad_request("resourceVersion should not be set on objects to be created")
    for name in (*_SERVER_OWNED, *_DROPPED):
        metadata.pop(name, None)
    environment = context.services.environment
    if not metadata.get("name"):
        prefix = metadata.get("generateName")
        if not prefix:
            error = FieldError.required("metadata.name", "name or generateName is required")
            raise status.invalid(resource, "", [error])
        metadata["name"] = prefix[: 63 - 5] + environment.name_suffix()
    metadata["uid"] = environment.uid()
    metadata["creationTimestamp"] = environment.timestamp()
    if strategy_of(resource).counts_generation:
        metadata["generation"] = 1
    return {**obj, "metadata": metadata}


def has_status(context: Context, resource: Resource) -> bool:
    """Whether the kind has a status subresource."""
    return context.services.scheme.of(resource).subresource("status") is not None


def prepare_create(context: Context, resource: Resource, obj: Object) -> Object:
    """Server-owned metadata, no status from the client, the kind's own preparations."""
    obj = fresh_metadata(context, resource, obj)
    if has_status(context, resource) and "status" in obj:
        obj = {name: value for name, value in obj.items() if name != "status"}
    return strategy_of(resource).prepare_create(context.services, obj)


def _kept_metadata(resource: Resource, new: Object, old: Object) -> dict[str, Any]:
    """The new metadata with what the server owns taken from the old; raises 409 for another uid."""
    metadata, before = dict(new["metadata"]), old["metadata"]
    uid = metadata.get("uid")
    if uid and uid != before.get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before.get('uid')}"
        raise status.conflict(resource, before["name"], why)
    for name in _SERVER_OWNED:
        metadata.pop(name, None)
        if before.get(name) is not None:
            metadata[name] = before[name]
    for name in _DROPPED:
        metadata.pop(name, None)
    metadata.setdefault("resourceVersion", before.get("resourceVersion"))
    if "generateName" in before:
        metadata.setdefault("generateName", before["generateName"])
    return metadata


def _body(resource: Resource, obj: Object) -> Object:
    """What generation counts: everything but metadata and status."""
    if isinstance(resource, CustomResource):
        return instances.body_of(resource, obj)
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def prepare_update(context: Context, resource: Resource, new: Object, old: Object) -> Object:
    """A changed object: the server's metadata and the status stay, generation moves when the rest changed."""
    strategy = strategy_of(resource)
    metadata = _kept_metadata(resource, new, old)
    changed = {**new, "metadata": metadata}
    if has_status(context, resource):
        changed.pop("status", None)
        if "status" in old:
            changed["status"] = old["status"]
    changed = strategy.prepare_update(context.services, changed, old)
    if strategy.counts_generation and _body(resource, changed) != _body(resource, old):
        generation = int(old["metadata"].get("generation") or 0) + 1
        changed = {**changed, "metadata": {**changed["metadata"], "generation": generation}}
    _check_finalizers(resource, changed, old)
    return changed


def prepare_status(resource: Resource, new: Object, old: Object) -> Object:
    """A changed status: only status, labels and annotations come from the client, and who owns what with them."""
    metadata = dict(old["metadata"])
    kept = _kept_metadata(resource, new, old)
    # of custom objects a status write changes no labels and annotations either
    parts = ("managedFields",) if isinstance(resource, CustomResource) else ("labels", "annotations", "managedFields")
    for name in parts:
        if name in kept:
            metadata[name] = kept[name]
        else:
            metadata.pop(name, None)
    changed = {**old, "metadata": metadata}
    changed.pop("status", None)
    if "status" in new:
        changed["status"] = new["status"]
    return changed


def _check_finalizers(resource: Resource, new: Object, old: Object) -> None:
    if old["metadata"].get("deletionTimestamp") is None:
        return
    added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
    if added:
        detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
        error = FieldError.forbidden("metadata.finalizers", detail)
        raise status.invalid(resource, new["metadata"]["name"], [error])


def _refuse(resource: Resource, obj: Object, errors: list[FieldError]) -> None:
    if errors:
        raise status.invalid(resource, obj["metadata"].get("name", ""), errors)


def validate_create(context: Context, resource: Resource, obj: Object) -> None:
    """Raise 422 with every reason."""
    if isinstance(resource, CustomResource):
        _refuse(resource, obj, instances.validate_create(resource, obj))
        return
    schema = context.services.scheme.schema_of(resource)
    errors = rules.validate_create(resource, schema, obj) or expressions.broken(resource, obj)
    if errors:
        raise status.invalid(resource, obj["metadata"].get("name", ""), errors)


def validate_update(context: Context, resource: Resource, new: Object, old: Object, subresource: str = "") -> None:
    """Raise 422 with every reason, immutable fields included."""
    if isinstance(resource, CustomResource):
        _refuse(resource, new, instances.validate_update(resource, new, old))
        return
    schema = context.services.scheme.schema_of(resource)
    errors = rules.validate_update(resource, schema, new, old, subresource)
    if not errors and not subresource:
        errors = expressions.broken(resource, new)
    if errors:
        raise status.invalid(resource, new["metadata"]["name"], errors)


async def admitted_create(context: Context, resource: Resource, obj: Object) -> Object:
    """A decoded, defaulted object through mutating admission."""
    return await admission.mutate(attributes(context, resource, "CREATE", obj, {}))


def stored(resource: Resource, obj: Object) -> Object:
    """The object in the version that is stored."""
    return versions.to_stored(resource, obj)
