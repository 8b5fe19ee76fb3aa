"""The three patches that need no field owners: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

All are copy-on-write: the result shares every part of the document that the patch does not touch.

    json_patch(document, operations)            PatchError when an operation does not apply
    merge_patch(document, patch)                never fails
    strategic_merge(document, patch, schema)    PatchError; `schema` says how lists merge (controlplane.objects.schema)

A strategic patch may carry `$patch: replace | delete | merge`, `$retainKeys`, `$setElementOrder/list` and
`$deleteFromPrimitiveList/list`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

Object = dict[str, Any]

MOST_OPERATIONS: Final = 10_000  # as Kubernetes limits a JSON patch


class PatchError(ValueError):
    """The patch does not apply to the document; the message says why."""


# --- merge patch --------------------------------------------------------------------------------------------
def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


# --- JSON patch ---------------------------------------------------------------------------------------------
_INDEX = re.compile(r"(0|[1-9]\d*)\Z", re.ASCII)
_MISSING = object()


def _tokens(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise PatchError(f"invalid JSON pointer: {pointer!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _index(container: list[Any], token: str, *, end: bool) -> int:
    """The position a token names; `end` allows the one after the last."""
    if token == "-" and end:
        return len(container)
    if not _INDEX.match(token):
        raise PatchError(f"invalid array index: {token!r}")
    position = int(token)
    if position > len(container) - (0 if end else 1):
        raise PatchError(f"unable to access invalid index: {position}: invalid index referenced")
    return position


def _get(document: Any, tokens: Sequence[str]) -> Any:
    for token in tokens:
        if isinstance(document, dict):
            document = document.get(token, _MISSING)
        elif isinstance(document, list):
            document = document[_index(document, token, end=False)]
        else:
            document = _MISSING
        if document is _MISSING:
            raise PatchError(f"doc is missing path: {'/' + '/'.join(tokens)!r}: missing value")
    return document


def _edit(document: Any, tokens: Sequence[str], change: Callable[[Any, str], Any]) -> Any:
    """A copy of the spine to the container of the last token, which `change` turned into a new one."""
    head, *rest = tokens
    if not rest:
        return change(document, head)
    child = _edit(_get(document, [head]), rest, change)
    copy = document.copy()
    copy[head if isinstance(document, dict) else _index(document, head, end=False)] = child
    return copy


def _added(value: Any) -> Callable[[Any, str], Any]:
    def change(container: Any, token: str) -> Any:
        if isinstance(container, dict):
            return {**container, token: value}
        if isinstance(container, list):
            position = _index(container, token, end=True)
            return [*container[:position], value, *container[position:]]
        raise PatchError(f"doc is missing path: {token!r}: missing value")

    return change


def _removed(container: Any, token: str) -> Any:
    _get(container, [token])
    if isinstance(container, dict):
        return {key: value for key, value in container.items() if key != token}
    position = _index(container, token, end=False)
    return [*container[:position], *container[position + 1 :]]


def _replaced(value: Any) -> Callable[[Any, str], Any]:
    def change(container: Any, token: str) -> Any:
        _get(container, [token])
        copy = container.copy()
        copy[token if isinstance(container, dict) else _index(container, token, end=False)] = value
        return copy

    return change


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _value(operation: Object) -> Any:
    if "value" not in operation:
        raise PatchError(f"operation {operation.get('op')!r} lacks a value")
    return operation["value"]


def _apply_operation(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict):
        raise PatchError("a JSON patch operation must be an object")
    path = _tokens(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _edit(document, path, _added(_value(operation))) if path else _value(operation)
        case "replace":
            return _edit(document, path, _replaced(_value(operation))) if path else _value(operation)
        case "remove":
            return _edit(document, path, _removed) if path else None
        case "test":
            if not _same(_get(document, path), operation.get("value")):
                raise PatchError(f"testing value {operation['path']} failed: test failed")
            return document
        case "copy" | "move" as name:
            source = _tokens(operation.get("from"))
            value = _get(document, source)
            if name == "move":
                if path[: len(source)] == source and len(path) > len(source):
                    raise PatchError("a value cannot be moved into itself")
                document = _edit(document, source, _removed) if source else None
            return _edit(document, path, _added(value)) if path else value
        case name:
            raise PatchError(f"unexpected kind: {name}")


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902, all operations or none.  Raises PatchError."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch must be an array of operations")
    if len(operations) > MOST_OPERATIONS:
        raise PatchError(f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(operations)}")
    for operation in operations:
        try:
            document = _apply_operation(document, operation)
        except PatchError as error:
            kind = operation.get("op") if isinstance(operation, dict) else None
            raise PatchError(f"{kind} operation does not apply: {error}") from None
    return document


# --- strategic merge patch ----------------------------------------------------------------------------------
class MergeSchema(Protocol):
    """What strategic merge asks of a schema node."""

    @property
    def merge_key(self) -> str:
        """The field that names an item of this list, or ""."""

    @property
    def patch_strategies(self) -> frozenset[str]:
        """Of merge, replace, retainKeys."""

    def child(self, name: str) -> "MergeSchema | None":
        """The schema of a field, or of a map's values."""

    def item(self) -> "MergeSchema | None":
        """The schema of a list's items."""


_DIRECTIVE: Final = "$patch"
_VANISHING: Final = ("delete", "replace")
_RETAIN: Final = "$retainKeys"
_ORDER: Final = "$setElementOrder/"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"


def strategic_merge(document: Object, patch: Object, schema: MergeSchema | None) -> Object:
    """Kubernetes' own patch.  Without a schema, objects merge and lists are replaced.  Raises PatchError."""
    return _merge_map(document, patch, schema)


def _is_special(key: str) -> bool:
    return key in (_DIRECTIVE, _RETAIN) or key.startswith((_ORDER, _DELETE_FROM))


def _retain(document: Object, patch: Object) -> Object:
    """$retainKeys: what it does not name goes."""
    keep = patch[_RETAIN]
    if not isinstance(keep, list):
        raise PatchError("unable to parse $retainKeys: expected a list")
    unnamed = [key for key in patch if not _is_special(key) and key not in keep]
    if unnamed:
        raise PatchError(f"$retainKeys does not name {unnamed[0]!r} that the patch sets")
    return {key: value for key, value in document.items() if key in keep}


def _merge_map(document: Object, patch: Object, schema: MergeSchema | None) -> Object:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"Unknown patch type found: {directive}")
    if _RETAIN in patch:
        document = _retain(document, patch)
    merged = dict(document)
    ordered = {key[len(_ORDER) :] for key in patch if key.startswith(_ORDER)}
    for name in ordered:
        _order_list(merged, patch, name, schema)
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            _delete_from(merged, key[len(_DELETE_FROM) :], value, ordered)
        elif not _is_special(key) and key not in ordered:
            _merge_field(merged, key, value, schema.child(key) if schema else None)
    return merged


def _merge_field(merged: Object, key: str, value: Any, schema: MergeSchema | None) -> None:
    if value is None:
        merged.pop(key, None)
        return
    present = merged.get(key)
    strategies = schema.patch_strategies if schema else frozenset[str]()
    if isinstance(value, dict) and isinstance(present, dict) and "replace" not in strategies:
        merged[key] = _merge_map(present, value, schema)
    elif isinstance(value, list) and isinstance(present, list) and "merge" in strategies:
        merged[key] = _merge_list(present, value, schema)
    else:
        merged[key] = _plain(value)


def _plain(value: Any) -> Any:
    """A value that replaces or is new: without directives and nulls that only a merge understands."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if not _is_special(key) and part is not None}
    if isinstance(value, list):
        return [_plain(part) for part in value if not (isinstance(part, dict) and part.get(_DIRECTIVE) in _VANISHING)]
    return value


def _key_value(item: Any, merge_key: str) -> Any:
    if not isinstance(item, dict) or merge_key not in item:
        raise PatchError(f"map: {item} does not contain declared merge key: {merge_key}")
    return item[merge_key]


def _merge_list(present: list[Any], patch: list[Any], schema: MergeSchema | None) -> list[Any]:
    merge_key = schema.merge_key if schema else ""
    if not any(isinstance(item, dict) for item in (*present, *patch)):
        merged = [*present, *(item for item in patch if item not in present)]
        merged = list(dict.fromkeys(merged)) if all(isinstance(item, str) for item in merged) else merged
        return _in_order(merged, patch, present, "")
    if not merge_key:
        raise PatchError("cannot merge lists without merge key")
    item_schema = schema.item() if schema else None
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [_plain(item) for item in patch if item.get(_DIRECTIVE) != "replace"]
    merged = list(present)
    changes = []
    for item in patch:
        wanted = _key_value(item, merge_key)
        if item.get(_DIRECTIVE) == "delete":
            merged = [old for old in merged if _key_value(old, merge_key) != wanted]
            continue
        changes.append(item)
        position = next((at for at, old in enumerate(merged) if _key_value(old, merge_key) == wanted), None)
        if position is None:
            merged.append(_plain(item))
        else:
            merged[position] = _merge_map(merged[position], item, item_schema)
    return _in_order(merged, changes, present, merge_key)


def _in_order(merged: list[Any], order: list[Any], server: list[Any], merge_key: str) -> list[Any]:
    """Items that `order` names stand in its order, the others in the server's; where the two meet, an item of the
    server goes first only when the server already had both in that order."""

    def key(item: Any) -> Any:
        return item.get(merge_key) if merge_key and isinstance(item, dict) else item

    wanted = [key(item) for item in order]
    before = [key(item) for item in server]
    ours = sorted((item for item in merged if key(item) in wanted), key=lambda item: wanted.index(key(item)))
    theirs = [item for item in merged if key(item) not in wanted]
    result: list[Any] = []
    while ours and theirs:
        left, right = key(theirs[0]), key(ours[0])
        first = left in before and right in before and before.index(left) < before.index(right)
        result.append(theirs.pop(0) if first else ours.pop(0))
    return [*result, *theirs, *ours]


def _order_list(merged: Object, patch: Object, name: str, schema: MergeSchema | None) -> None:
    """$setElementOrder/name, together with the changes to that list."""
    order = patch[_ORDER + name]
    if not isinstance(order, list):
        raise PatchError(f"unable to parse {_ORDER}{name}: expected a list")
    child = schema.child(name) if schema else None
    changes, present = patch.get(name), merged.get(name)
    if name in patch and changes is None:
        merged.pop(name, None)
        return
    server = present if isinstance(present, list) else []
    if isinstance(changes, list):
        _merge_field(merged, name, changes, child)
    removed = patch.get(_DELETE_FROM + name)
    if isinstance(removed, list) and isinstance(merged.get(name), list):
        merged[name] = [item for item in merged[name] if item not in removed]
    if isinstance(merged.get(name), list):
        merged[name] = _in_order(merged[name], order, server, child.merge_key if child else "")


def _delete_from(merged: Object, name: str, values: Any, ordered: set[str]) -> None:
    if not isinstance(values, list):
        raise PatchError(f"unable to parse {_DELETE_FROM}{name}: expected a list")
    present = merged.get(name)
    if isinstance(present, list) and name not in ordered:
        merged[name] = [item for item in present if item not in values]
