"""x-kubernetes-validations: rules of a schema, on an object and on its change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from controlplane.apiserver.cel.program import CelError, Program, compile_expression
from controlplane.apiserver.cel.values import shown
from controlplane.objects.status import FieldError
from controlplane.objects.structural import Node
from controlplane.objects.structural.jsonpath import simple_steps

Object = dict[str, Any]
Rule = Mapping[str, Any]
Errors = list[FieldError]

_ABSENT: Final = object()
_OLD: Final = re.compile(r"\boldSelf\b")
_TYPES: Final = {
    "FieldValueRequired": "Required",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate",
}
_NAMES: Final = ("self", "oldSelf", "hasOldSelf")


def _program(rule: Rule, text: str) -> Program:
    if rule.get("optionalOldSelf"):
        old = "hasOldSelf ? optional.of(oldSelf) : optional.none()"
        renamed = _OLD.sub("optionalOldSelf", text)
        text = f"cel.bind(optionalOldSelf, {old}, {renamed})"
    return compile_expression(text, _NAMES)


def uses_old(rule: Rule) -> bool:
    """Whether this is a transition rule."""
    return _OLD.search(rule.get("rule") or "") is not None


# A definition's rules


def check(raw: Mapping[str, Any], path: str) -> Errors:
    """What is wrong with the rules of a schema, everything below included."""
    found: Errors = []
    for at, rule in enumerate(raw.get("x-kubernetes-validations") or ()):
        _check_rule(rule, f"{path}.x-kubernetes-validations[{at}]", found)
    for name, part in (raw.get("properties") or {}).items():
        found += check(part, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(raw.get(name), dict):
            found += check(raw[name], f"{path}.{name}")
    return found


def _check_rule(rule: Rule, path: str, found: Errors) -> None:
    text = rule.get("rule") or ""
    if not text.strip():
        found.append(FieldError.required(f"{path}.rule", "rule is not specified"))
        return
    message = rule.get("message")
    if message is not None and not message.strip():
        found.append(FieldError.invalid(f"{path}.message", message, "message must be non-empty if specified"))
    if message and "\n" in message:
        found.append(FieldError.invalid(f"{path}.message", message, "message must not contain line breaks"))
    if "\n" in text.strip() and not message and not rule.get("messageExpression"):
        words = "message must be specified if rule contains line breaks"
        found.append(FieldError.required(f"{path}.message", words))
    reason = rule.get("reason")
    if reason and reason not in ("FieldValueInvalid", *_TYPES):
        found.append(FieldError.not_supported(f"{path}.reason", reason, sorted(("FieldValueInvalid", *_TYPES))))
    if rule.get("fieldPath") and simple_steps(rule["fieldPath"]) is None:
        found.append(FieldError.invalid(f"{path}.fieldPath", rule["fieldPath"], "fieldPath must be a valid path"))
    for name in ("rule", "messageExpression"):
        if rule.get(name):
            try:
                _program(rule, rule[name])
            except CelError as error:
                found.append(FieldError.invalid(f"{path}.{name}", dict(rule), str(error)))


def check_definition(crd: Object) -> Errors:
    """What is wrong with the rules of all versions of a CRD."""
    found: Errors = []
    versions = crd["spec"].get("versions") or []
    for at, version in enumerate(versions):
        raw = (version.get("schema") or {}).get("openAPIV3Schema")
        if raw is not None:
            path = "spec.validation" if len(versions) == 1 else f"spec.versions[{at}].schema"
            found += check(raw, f"{path}.openAPIV3Schema")
    return found


# An object under its rules


def broken(node: Node, obj: Object, old: Object | None) -> Errors:
    """The rules that an object, or its change, breaks."""
    found: Errors = []
    _value(node, obj, _ABSENT if old is None else old, "", found)
    return found


def _children(node: Node, value: Any, old: Any) -> Iterator[tuple[Node, Any, Any, str]]:
    """(node, value, old value, step) of what is below; the old value of a list's item is known by its keys."""
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, part in value.items():
            child = node.child(name)
            if child is not None:
                step = f".{name}" if name in node.properties else f"[{name}]"
                yield child, part, before.get(name, _ABSENT), step
    elif isinstance(value, list) and node.items is not None:
        known: dict[Any, Any] = {}
        if node.list_type == "map" and isinstance(old, list):
            known = {_key(node, item): item for item in old}
        for at, part in enumerate(value):
            yield node.items, part, known.get(_key(node, part), _ABSENT) if known else _ABSENT, f"[{at}]"


def _key(node: Node, item: Any) -> Any:
    return tuple(repr(item.get(name)) for name in node.map_keys) if isinstance(item, dict) else None


def _value(node: Node, value: Any, old: Any, path: str, found: Errors) -> None:
    if value is None and node.nullable:
        return
    if node.rules:
        _rules(node, value, old, path, found)
    for child, part, before, step in _children(node, value, old):
        if child.has_rules():
            _value(child, part, before, (path + step).lstrip("."), found)


def _rules(node: Node, value: Any, old: Any, path: str, found: Errors) -> None:
    unchanged = old is not _ABSENT and old == value
    seen: Object | None = None
    for rule in node.rules:
        transition = uses_old(rule)
        if (transition and old is _ABSENT and not rule.get("optionalOldSelf")) or (unchanged and not transition):
            continue
        if seen is None:
            seen = {"self": shown(node, value), "hasOldSelf": old is not _ABSENT}
            seen["oldSelf"] = None if old is _ABSENT else shown(node, old)
        try:
            held = _program(rule, rule["rule"])(seen)
        except CelError as error:
            words = f"{error} evaluating rule: {_plain_message(rule)}"
            found.append(FieldError.invalid(path or "<nil>", node.type, words))
            continue
        if held is not True:
            found.append(_failure(rule, node, seen, path))


def _plain_message(rule: Rule) -> str:
    message = (rule.get("message") or "").strip()
    return message or f"failed rule: {rule['rule'].strip()}"


def _failure(rule: Rule, node: Node, seen: Object, path: str) -> FieldError:
    message = _plain_message(rule)
    if rule.get("messageExpression"):
        try:
            told = _program(rule, rule["messageExpression"])(seen)
        except CelError:
            told = ""  # the plain message stands in, as Kubernetes has it
        if isinstance(told, str) and told.strip() and "\n" not in told:
            message = told.strip()
    where = ".".join([*([path] if path else []), *(simple_steps(rule.get("fieldPath") or "") or ())]) or "<nil>"
    kind = _TYPES.get(rule.get("reason") or "", "Invalid")
    return FieldError(kind, where, node.type if kind in ("Invalid", "Duplicate") else None, message)
