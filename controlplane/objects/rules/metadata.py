"""Rules for `metadata` of every kind, and for the labels and selectors that stand inside of specs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from controlplane.objects.kinds import Resource
from controlplane.objects.meta import get_in
from controlplane.objects.rules import names
from controlplane.objects.rules.rule import IMMUTABLE, Errors, Object, each, join
from controlplane.objects.status import FieldError

_MOST_ANNOTATION_BYTES: Final = 256 * 1024
_RBAC: Final = "rbac.authorization.k8s.io"

# names that are not RFC 1123 subdomains
_NAME_CHECKERS: Final[dict[tuple[str, str], names.Checker]] = {
    ("", "namespaces"): names.label,
    ("", "services"): names.label,
    **{
        (_RBAC, plural): names.path_segment
        for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
    },
    ("networking.k8s.io", "ipaddresses"): names.ip_address,
    ("apiregistration.k8s.io", "apiservices"): names.path_segment,
    ("certificates.k8s.io", "clustertrustbundles"): lambda text: [],
    ("storage.k8s.io", "csinodes"): names.subdomain,
}
_SYSTEM: Final = ("uid", "creationTimestamp")


def name_checker(resource: Resource) -> names.Checker:
    """What names of this resource must look like."""
    return _NAME_CHECKERS.get((resource.group, resource.plural), names.subdomain)


def labels(found: Mapping[str, Any] | None, path: str) -> Errors:
    """Keys and values of a map of labels."""
    errors = []
    for key, value in (found or {}).items():
        errors += [FieldError.invalid(path, key, words) for words in names.qualified(key)]
        errors += [FieldError.invalid(path, value, words) for words in names.label_value(value)]
    return errors


def annotations(found: Mapping[str, Any] | None, path: str) -> Errors:
    """Keys, and the size of all together."""
    errors = []
    size = 0
    for key, value in (found or {}).items():
        errors += [FieldError.invalid(path, key, words) for words in names.qualified(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > _MOST_ANNOTATION_BYTES:
        errors.append(FieldError.too_long(path, _MOST_ANNOTATION_BYTES))
    return errors


_NEEDS_VALUES: Final = ("In", "NotIn")
_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")


def selector(found: Mapping[str, Any] | None, path: str) -> Errors:
    """A LabelSelector."""
    errors = labels((found or {}).get("matchLabels"), f"{path}.matchLabels")
    for where, expression in each(found or {}, "matchExpressions", path):
        operator, values = expression.get("operator"), expression.get("values") or []
        if operator not in _OPERATORS:
            errors.append(FieldError.invalid(f"{where}.operator", operator, "not a valid selector operator"))
        elif operator in _NEEDS_VALUES and not values:
            errors.append(
                FieldError.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            )
        elif operator not in _NEEDS_VALUES and values:
            errors.append(
                FieldError.forbidden(
                    f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
            )
        key = expression.get("key") or ""
        errors += [FieldError.invalid(f"{where}.key", key, words) for words in names.qualified(key)]
        for position, value in enumerate(values):
            at = f"{where}.values[{position}]"
            errors += [FieldError.invalid(at, value, words) for words in names.label_value(value)]
    return errors


def _owners(metadata: Object) -> Errors:
    errors = []
    controllers = []
    for path, owner in each(metadata, "ownerReferences", "metadata"):
        for name, words in (("apiVersion", "version must not be empty"), ("kind", "must not be empty"),
                            ("name", "must not be empty"), ("uid", "must not be empty")):  # fmt: skip
            if not owner.get(name):
                errors.append(FieldError.invalid(join(path, name), owner.get(name) or "", words))
        if owner.get("controller"):
            controllers.append(owner)
    if len(controllers) > 1:
        one, other = (f"{owner.get('kind')}/{owner.get('name')}" for owner in controllers[:2])
        words = f'Only one reference can have Controller set to true. Found "true" in references for {one} and {other}'
        errors.append(FieldError.invalid("metadata.ownerReferences", metadata["ownerReferences"], words))
    return errors


def _common(metadata: Object) -> Errors:
    errors = labels(metadata.get("labels"), "metadata.labels")
    errors += annotations(metadata.get("annotations"), "metadata.annotations")
    errors += _owners(metadata)
    for path, finalizer in each(metadata, "finalizers", "metadata"):
        errors += [FieldError.invalid(path, finalizer, words) for words in names.qualified(finalizer)]
    return errors


def check(resource: Resource, obj: Object) -> Errors:
    """The metadata of a new object."""
    metadata: Object = obj.get("metadata") or {}
    errors: Errors = []
    checker = name_checker(resource)
    name, prefix = metadata.get("name") or "", metadata.get("generateName") or ""
    if prefix and not name:
        errors += [FieldError.invalid("metadata.generateName", prefix, words) for words in checker(_as_name(prefix))]
    if not name:
        errors.append(FieldError.required("metadata.name", "name or generateName is required"))
    else:
        errors += [FieldError.invalid("metadata.name", name, words) for words in checker(name)]
    namespace = metadata.get("namespace") or ""
    if not resource.namespaced:
        if namespace:
            errors.append(FieldError.forbidden("metadata.namespace", "not allowed on this type"))
    elif not namespace:
        errors.append(FieldError.required("metadata.namespace"))
    else:
        errors += [FieldError.invalid("metadata.namespace", namespace, words) for words in names.label(namespace)]
    return errors + _common(metadata)


def _as_name(prefix: str) -> str:
    """A prefix may end in what a name may not."""
    return prefix[:-1] + "a" if prefix.endswith("-") else prefix


def check_update(resource: Resource, new: Object, old: Object) -> Errors:
    """The metadata of a changed object: what the system set stays."""
    metadata: Object = new.get("metadata") or {}
    errors: Errors = []
    for name in ("name", "namespace", *_SYSTEM, "deletionTimestamp", "deletionGracePeriodSeconds"):
        before = get_in(old, "metadata", name)
        if name.startswith("deletion") and before is None:
            continue  # the server sets it in the course of an update
        if metadata.get(name) != before:
            errors.append(FieldError.invalid(f"metadata.{name}", metadata.get(name), IMMUTABLE))
    if get_in(old, "metadata", "deletionTimestamp"):
        added = [name for name in metadata.get("finalizers") or () if name not in _finalizers(old)]
        if added:
            words = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers {_go_list(added)}"
            )
            errors.append(FieldError.forbidden("metadata.finalizers", words))
    return errors + _common(metadata)


def _finalizers(obj: Object) -> Sequence[str]:
    found: Sequence[str] = get_in(obj, "metadata", "finalizers", default=())
    return found


def _go_list(items: Sequence[str]) -> str:
    return "[]string{" + ", ".join(f'"{item}"' for item in items) + "}"
