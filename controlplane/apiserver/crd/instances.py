"""A custom object between the body and the store."""

from __future__ import annotations

from typing import Any, Final, Literal

from controlplane.apiserver.crd.definition import CustomResource
from controlplane.objects import validation
from controlplane.objects.rules import metadata as metadata_rules
from controlplane.objects.scheme import Scheme
from controlplane.objects.status import ApiError, FieldError, bad_request
from controlplane.objects.structural import default, prune, validate

Object = dict[str, Any]
Mode = Literal["Strict", "Warn", "Ignore"]

_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def decoded(
    scheme: Scheme, resource: CustomResource, obj: Object, mode: Mode, twice: list[str]
) -> tuple[Object, list[str]]:
    """(the object pruned to its schema, warnings); raises 400, in Strict mode also for what is unknown or said twice."""
    head = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    try:
        metadata = validation.decode(scheme.definitions.get(_OBJECT_META), obj.get("metadata") or {})
    except validation.DecodeError as error:
        raise bad_request(head + str(error)) from None
    found = {**obj, "metadata": metadata.object}
    unknown = [f"metadata.{path}" for path in metadata.unknown]
    if not resource.definition.preserve_all:
        found, pruned = prune(resource.of.node, found)
        unknown += pruned
    complaints = list(twice)
    complaints += [f'unknown field "{path}"' for path in unknown]
    if complaints and mode == "Strict":
        raise bad_request(f"{head}strict decoding error: {', '.join(complaints)}")
    return found, complaints if mode == "Warn" else []


def defaulted(resource: CustomResource, obj: Object) -> Object:
    """The object with the defaults of its schema."""
    return default(resource.of.node, obj)  # type: ignore[no-any-return]


def as_read(resource: CustomResource, obj: Object) -> Object:
    """An object that was stored under another schema, as this one shows it."""
    if not resource.definition.preserve_all:
        obj, _ = prune(resource.of.node, obj)
    return defaulted(resource, obj)


def _without_meta(obj: Object) -> Object:
    """What the schema speaks of: of the metadata only the names."""
    metadata = obj["metadata"]
    return {**obj, "metadata": {name: metadata[name] for name in ("name", "generateName") if name in metadata}}


def _validated(resource: CustomResource, obj: Object, old: Object | None) -> list[FieldError]:
    node = resource.of.node
    if old is None:
        return validate(node, _without_meta(obj))
    return validate(node, _without_meta(obj), old=_without_meta(old))


def validate_create(resource: CustomResource, obj: Object) -> list[FieldError]:
    """Everything wrong with a new object."""
    from controlplane.apiserver.crd import rules

    errors = metadata_rules.check(resource, obj) + _validated(resource, obj, None)
    return errors or rules.broken(resource, obj, None)


def validate_update(resource: CustomResource, new: Object, old: Object) -> list[FieldError]:
    """Everything wrong with a change; what was wrong before and did not change may stay."""
    from controlplane.apiserver.crd import rules

    errors = metadata_rules.check_update(resource, new, old) + _validated(resource, new, old)
    return errors or rules.broken(resource, new, old)


def terminating() -> ApiError:
    """What a create is told while its definition goes."""
    words = "create not allowed while custom resource definition is terminating"
    return ApiError(405, "MethodNotAllowed", words)


def body_of(resource: CustomResource, obj: Object) -> Object:
    """What metadata.generation counts: everything but metadata, and the status where it is a subresource."""
    dropped = ("metadata", "status") if resource.of.has_status else ("metadata",)
    return {name: value for name, value in obj.items() if name not in dropped}
