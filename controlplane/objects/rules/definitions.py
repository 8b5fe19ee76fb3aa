"""CustomResourceDefinitions: names, versions, structural schemas, subresources, columns, conversion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.objects.rules import names
from controlplane.objects.rules.rule import IMMUTABLE, Errors, Object, Rules, each
from controlplane.objects.status import FieldError
from controlplane.objects.structural.check import check as check_structure
from controlplane.objects.structural.jsonpath import PathError, compile_path, simple_steps
from controlplane.objects.structural.node import Node
from controlplane.objects.structural.patterns import PatternError

_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MOST_SELECTABLE: Final = 8
_OLD_REVIEWS: Final = "v1beta1"


def _labelled(value: str, path: str, *, mixed_case: bool = False) -> Errors:
    text = value.lower() if mixed_case else value
    words = "may have mixed case, but should otherwise match: " if mixed_case else ""
    return [FieldError.invalid(path, value, words + why) for why in names.label_1035(text)]


def _names(spec: Object) -> Errors:
    found: Errors = []
    given: Object = spec.get("names") or {}
    for name in ("plural", "singular", "kind", "listKind"):
        path, value = f"spec.names.{name}", given.get(name)
        if not value:
            found.append(FieldError.required(path))
        else:
            found += _labelled(value, path, mixed_case=name in ("kind", "listKind"))
    for name in ("shortNames", "categories"):
        for path, value in each(given, name, "spec.names"):
            found += _labelled(value, path)
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        found.append(
            FieldError.invalid("spec.names.listKind", given["listKind"], "kind and listKind may not be the same")
        )
    return found


def _group(spec: Object) -> Errors:
    group = spec.get("group")
    if not group:
        return [FieldError.required("spec.group")]
    found = [FieldError.invalid("spec.group", group, why) for why in names.subdomain(group)]
    if len(group.split(".")) < 2:
        found.append(FieldError.invalid("spec.group", group, "should be a domain with at least one dot"))
    return found


def _is_approved(crd: Object) -> Errors:
    """Groups of the community are only for APIs that it has approved."""
    group = (crd.get("spec") or {}).get("group") or ""
    protected = any(group == suffix or group.endswith(f".{suffix}") for suffix in ("k8s.io", "kubernetes.io"))
    path = "metadata.annotations[api-approved.kubernetes.io]"
    value = (crd["metadata"].get("annotations") or {}).get("api-approved.kubernetes.io", "")
    if not protected or value.startswith(("https://", "http://", "unapproved")):
        return []
    if not value:
        words = 'protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111'
        return [FieldError.required(path, words)]
    words = (
        'protected groups must have approval annotation "api-approved.kubernetes.io" with either a URL or a reason '
        'starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111'
    )
    return [FieldError.invalid(path, value, words)]


def _versions(spec: Object) -> Errors:
    found: Errors = []
    versions: list[Object] = spec.get("versions") or []
    if not versions:
        return [FieldError.required("spec.versions", "must have at least one version")]
    if sum(bool(version.get("storage")) for version in versions) != 1:
        words = "must have exactly one version marked as storage version"
        found.append(FieldError.invalid("spec.versions", [_shown(version) for version in versions], words))
    seen: set[str] = set()
    for path, version in each(spec, "versions", "spec"):
        name = version.get("name") or ""
        if not name:
            found.append(FieldError.required(f"{path}.name"))
        found += [FieldError.invalid(f"{path}.name", name, why) for why in names.label_1035(name) if name]
        if name in seen:
            words = "must contain unique version names"
            found.append(FieldError.invalid("spec.versions", [_shown(version) for version in versions], words))
        seen.add(name)
        if version.get("deprecationWarning") and not version.get("deprecated"):
            words = "can only be set for deprecated versions"
            found.append(FieldError.invalid(f"{path}.deprecationWarning", version["deprecationWarning"], words))
    return found


def _shown(version: Object) -> Object:
    return {name: version.get(name) for name in ("name", "served", "storage")}


def _placed(spec: Object, part: str, top: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of a part of each version; where all versions have the same, it is named once, at the top."""
    versions: list[Object] = spec.get("versions") or []
    values = [version.get(part) for version in versions]
    if values and all(value == values[0] for value in values):
        yield f"spec.{top}", values[0]
        return
    for at, value in enumerate(values):
        yield f"spec.versions[{at}].{part}", value


def _schemas(spec: Object) -> Errors:
    found: Errors = []
    for path, schema in _placed(spec, "schema", "validation"):
        raw = (schema or {}).get("openAPIV3Schema")
        if raw is None:
            if spec.get("preserveUnknownFields"):
                continue
            where = (
                "spec.versions[0].schema.openAPIV3Schema" if path == "spec.validation" else f"{path}.openAPIV3Schema"
            )
            found.append(FieldError.required(where, "schemas are required"))
        else:
            found += check_structure(raw, f"{path}.openAPIV3Schema")
    return found


def _columns(spec: Object) -> Errors:
    found: Errors = []
    for path, columns in _placed(spec, "additionalPrinterColumns", "additionalPrinterColumns"):
        for at, column in enumerate(columns or ()):
            where = f"{path}[{at}]"
            if not column.get("name"):
                found.append(FieldError.required(f"{where}.name"))
            kind, form = column.get("type"), column.get("format")
            if not kind:
                found.append(FieldError.required(f"{where}.type", f"must be one of {','.join(_COLUMN_TYPES)}"))
            elif kind not in _COLUMN_TYPES:
                found.append(FieldError.invalid(f"{where}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
            if form and form not in _COLUMN_FORMATS:
                found.append(FieldError.invalid(f"{where}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
            found += _path(column.get("jsonPath"), f"{where}.jsonPath")
    return found


def _path(text: str | None, where: str) -> Errors:
    if not text:
        return [FieldError.required(where)]
    try:
        if not text.startswith("."):
            raise PathError(text)
        compile_path(text)
    except PathError:
        return [
            FieldError.invalid(
                where, text, "is an invalid path: does not start with ." if text[0] != "." else "is an invalid path"
            )
        ]
    return []


def _subresources(spec: Object) -> Errors:
    found: Errors = []
    for path, subresources in _placed(spec, "subresources", "subresources"):
        scale = (subresources or {}).get("scale")
        if scale is None:
            continue
        wanted = (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status"))
        for name, root in wanted:
            found += _scale_path(scale.get(name), f"{path}.scale.{name}", (root,), needed=True)
        if scale.get("labelSelectorPath"):
            value = scale["labelSelectorPath"]
            found += _scale_path(value, f"{path}.scale.labelSelectorPath", (".spec", ".status"), needed=False)
    return found


def _scale_path(text: str | None, where: str, roots: tuple[str, ...], *, needed: bool) -> Errors:
    if not text:
        return [FieldError.required(where)] if needed else []
    if simple_steps(text) is None:
        return [FieldError.invalid(where, text, "should be a simple json path without brackets or index")]
    if not any(text.startswith(f"{root}.") for root in roots):
        shown = " or ".join(roots)
        return [FieldError.invalid(where, text, f"should be a json path under {shown}")]
    return []


def _selectable(spec: Object) -> Errors:
    found: Errors = []
    for at, version in enumerate(spec.get("versions") or ()):
        fields: list[Object] = version.get("selectableFields") or []
        path = f"spec.versions[{at}].selectableFields"
        if len(fields) > _MOST_SELECTABLE:
            found.append(FieldError("TooMany", path, len(fields), f"must have at most {_MOST_SELECTABLE} items"))
        schema: Object = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        seen: set[str] = set()
        for position, selectable in enumerate(fields):
            found += _selectable_field(schema, selectable.get("jsonPath") or "", f"{path}[{position}].jsonPath", seen)
    return found


def _selectable_field(schema: Object, text: str, where: str, seen: set[str]) -> Errors:
    if not text:
        return [FieldError.required(where)]
    if text in seen:
        return [FieldError.duplicate(where, text)]
    seen.add(text)
    steps = simple_steps(text)
    if steps is None:
        return [FieldError.invalid(where, text, "is an invalid path")]
    if steps[0] == "metadata":
        return [FieldError.invalid(where, text, "must not point to fields in metadata")]
    node: Node | None
    try:
        node = Node.compile(schema)
    except PatternError:
        return []  # the schema's own errors say so
    for step in steps:
        node = node.properties.get(step) if node is not None else None
    if node is None or node.type not in ("boolean", "integer", "string"):
        return [FieldError.invalid(where, text, "must point to a field of type string, boolean or integer")]
    return []


def _conversion(spec: Object) -> Errors:
    conversion: Object = spec.get("conversion") or {}
    strategy, webhook = conversion.get("strategy"), conversion.get("webhook")
    if strategy not in ("None", "Webhook"):
        return [FieldError.not_supported("spec.conversion.strategy", strategy, ("None", "Webhook"))]
    if strategy == "None":
        if webhook is None:
            return []
        words = "should not be set when strategy is not set to Webhook"
        return [FieldError.forbidden("spec.conversion.webhook", words)]
    if webhook is None or webhook.get("clientConfig") is None:
        return [FieldError.required("spec.conversion.webhook.clientConfig", "required when strategy is set to Webhook")]
    found = client_config(webhook["clientConfig"], "spec.conversion.webhook.clientConfig")
    reviews = webhook.get("conversionReviewVersions") or []
    if not reviews:
        found.append(FieldError.required("spec.conversion.webhook.conversionReviewVersions"))
    elif "v1" not in reviews:
        words = f"must include at least one of v1, {_OLD_REVIEWS}"
        found.append(FieldError.invalid("spec.conversion.webhook.conversionReviewVersions", reviews, words))
    return found


def client_config(config: Object, path: str) -> Errors:
    """The clientConfig of a webhook: by URL or by service, not both."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [FieldError.required(path, "exactly one of url or service is required")]
    if url is not None:
        if not url.startswith("https://"):
            words = "'https' is the only allowed URL scheme; desired format: https://host[/path]"
            return [FieldError.invalid(f"{path}.url", url, words)]
        if "?" in url or "#" in url:
            words = "query parameters are not permitted in the URL; desired format: https://host[/path]"
            return [FieldError.invalid(f"{path}.url", url, words)]
        return []
    service = service or {}
    found = [FieldError.required(f"{path}.service.{name}") for name in ("name", "namespace") if not service.get(name)]
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        found.append(
            FieldError.invalid(
                f"{path}.service.port", port, "port is not valid: must be between 1 and 65535, inclusive"
            )
        )
    return found


def _check(crd: Object) -> Errors:
    spec: Object = crd.get("spec") or {}
    found = _group(spec) + _names(spec)
    wanted = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
    if crd["metadata"].get("name") != wanted:
        words = 'must be spec.names.plural+"."+spec.group'
        found.append(FieldError.invalid("metadata.name", crd["metadata"].get("name", ""), words))
    scope = spec.get("scope")
    if not scope:
        found.append(FieldError.required("spec.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        found.append(FieldError.not_supported("spec.scope", scope, ("Cluster", "Namespaced")))
    if spec.get("preserveUnknownFields"):
        words = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        found.append(FieldError.invalid("spec.preserveUnknownFields", True, words))
    found += _versions(spec) + _schemas(spec) + _columns(spec) + _subresources(spec) + _selectable(spec)
    return found + _conversion(spec) + _is_approved(crd)


def _update(new: Object, old: Object) -> Errors:
    """What others rely on once the names are accepted; and no version may go in which objects are stored."""
    found: Errors = []
    established = any(
        each.get("type") == "Established" and each.get("status") == "True"
        for each in (old.get("status") or {}).get("conditions") or ()
    )
    fixed = [("spec.group",), ("spec.names.plural",)]
    if established:
        fixed += [("spec.scope",), ("spec.names.kind",)]
    for (path,) in fixed:
        before, after = _at(old, path), _at(new, path)
        if before != after:
            found.append(FieldError.invalid(path, after, IMMUTABLE))
    served = {version.get("name") for version in (new.get("spec") or {}).get("versions") or ()}
    for at, name in enumerate((new.get("status") or {}).get("storedVersions") or ()):
        if name not in served:
            words = "missing from spec.versions"
            found.append(FieldError.invalid(f"status.storedVersions[{at}]", name, words))
    return found


def _at(obj: Object, path: str) -> Any:
    value: Any = obj
    for step in path.split("."):
        value = (value or {}).get(step)
    return value


RULES: Final = {("apiextensions.k8s.io", "customresourcedefinitions"): Rules(_check, _update)}
