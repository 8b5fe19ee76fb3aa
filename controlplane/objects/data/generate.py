"""Make `kubernetes.zlib`, the facts about Kubernetes' built-in kinds, from the schema packages (at build, never at run time).

Inputs: `kubernetes-validate` (schemas of every definition), `lightkube-models` (resources and verbs; its files are read
with `ast`, importing it would need an HTTP client) and `wire.tsv` beside this file (protobuf field numbers).
Output: deterministic bytes, read by `controlplane.objects.data`:

    one line of JSON: {"sections": {name: length in bytes}}, then the sections, each zlib-compressed JSON
    kinds           {"resources": [...], "schemas": {definition: schema}}: all that a running server needs
    descriptions    {definition: {"": text, field: text}}: prose for OpenAPI, read when somebody asks for it
    wire            {message: {number: [field, type, repeated]}}

Schemas are OpenAPI-shaped with plain types, and `$ref` holds the bare name of a definition.
"""

import ast
import importlib.util
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

KUBERNETES: Final = "v1.37.0"
OUTPUT: Final = Path(__file__).with_name("kubernetes.zlib")
WIRE: Final = Path(__file__).with_name("wire.tsv")

Json = dict[str, Any]

_STABLE = re.compile(r"v\d+\Z")
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_VERBS: Final = {"post": "create", "put": "update"}
_VERB_ORDER: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
# definitions that no resource refers to but that documents and bodies need
_ROOTS: Final = (
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.apimachinery.pkg.version.Info",
    *(_META + name for name in ("DeleteOptions", "Status", "WatchEvent", "Patch", "APIGroup", "APIGroupList")),
    *(_META + name for name in ("APIResourceList", "APIVersions", "ListMeta", "ObjectMeta")),
)
# what the packages say with oneOf, or not at all
_REPAIRED: Final[dict[str, Json]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "x-pilothouse-type": "quantity"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "type": "string",
        "format": "int-or-string",
        "x-pilothouse-type": "int-or-string",
    },
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {
        "type": "string", "format": "date-time", "x-pilothouse-type": "time",
    },
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": {
        "type": "string", "format": "date-time", "x-pilothouse-type": "micro-time",
    },
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "object", "x-pilothouse-type": "any"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {"type": "object", "x-pilothouse-type": "any"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": {"type": "object", "x-pilothouse-type": "any"},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": {"x-pilothouse-type": "any"},
    **{
        f"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOr{other}": {
            "x-pilothouse-type": "any"
        }
        for other in ("Array", "Bool", "StringArray")
    },
}  # fmt: skip
# keys of list maps that may be absent: server-side apply needs to know what absence means
_DEFAULTS: Final[dict[tuple[str, str], Any]] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
    ("io.k8s.api.core.v1.ObjectReference", "name"): "",
}


def _package(name: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the build needs the package {name}")
    return Path(next(iter(spec.submodule_search_locations)))


def _plain_schema(schema: Json) -> Json:
    """Undo what kubernetes-validate added: null types, enums of apiVersion and kind, `$defs` in references."""
    plain: Json = {}
    for key, value in schema.items():
        if key == "type":
            plain[key] = next(kind for kind in value if kind != "null") if isinstance(value, list) else value
        elif key == "$ref":
            plain[key] = value.removeprefix("#/$defs/")
        elif key == "properties":
            plain[key] = {name: _plain_schema(part) for name, part in sorted(value.items())}
        elif key in ("items", "additionalProperties"):
            plain[key] = _plain_schema(value)
        elif key not in ("description", "enum", "oneOf", "x-kubernetes-unions"):
            plain[key] = value
    return plain


def _definitions() -> tuple[dict[str, Json], dict[str, dict[str, str]]]:
    """(schemas, descriptions) of every definition."""
    folder = _package("kubernetes_validate") / "kubernetes-json-schema" / f"{KUBERNETES}-local"
    found: dict[str, Json] = json.loads((folder / "_definitions.json").read_text("utf-8"))["$defs"]
    schemas, descriptions = {}, {}
    for name, definition in found.items():
        texts = {field: part.get("description", "") for field, part in (definition.get("properties") or {}).items()}
        texts[""] = definition.get("description", "")
        descriptions[name] = {field: text for field, text in sorted(texts.items()) if text}
        schemas[name] = _REPAIRED.get(name) or _plain_schema(definition)
    for (name, field), value in _DEFAULTS.items():
        schemas[name]["properties"][field]["default"] = value
    return schemas, descriptions


def _literal(node: ast.expr) -> Any:
    """A constant, or the arguments of the call that wraps constants (`ResourceDef("apps", "v1", "Deployment")`)."""
    return [ast.literal_eval(part) for part in node.args] if isinstance(node, ast.Call) else ast.literal_eval(node)


def _api_infos() -> Iterator[tuple[bool, Json]]:
    """(namespaced, keywords of ApiInfo) of every resource and subresource, in lightkube's order."""
    for path in sorted((_package("lightkube") / "resources").glob("*.py")):
        for statement in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(statement, ast.ClassDef):
                continue
            base = ast.unparse(statement.bases[0])
            for part in statement.body:
                if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "_api_info":
                    assert isinstance(part.value, ast.Call)
                    keywords = {str(word.arg): _literal(word.value) for word in part.value.keywords}
                    yield "Namespaced" in base, keywords


def _verbs(names: list[str]) -> list[str]:
    known = {_VERBS.get(name, name) for name in names} - {"global_list", "global_watch"}
    if "global_list" in names:
        known |= {"list"}
    return [verb for verb in _VERB_ORDER if verb in known]


def _resources() -> list[Json]:
    """The stable resources with their subresources, sorted by group, version and plural."""
    found: dict[tuple[str, str, str], Json] = {}
    subresources: list[tuple[tuple[str, str, str], Json]] = []
    for namespaced, info in _api_infos():
        group, version, kind = info["resource"]
        at = (*(info.get("parent") or info["resource"])[:2], info["plural"])
        if not _STABLE.match(at[1]):
            continue
        entry = {"kind": kind, "verbs": _verbs(info["verbs"])}
        if "action" in info:
            subresources.append((at, {"name": info["action"], "group": group, "version": version, **entry}))
        else:
            found[at] = {"group": group, "version": version, "plural": at[2], "namespaced": namespaced, **entry}
            found[at]["subresources"] = []
    for at, entry in subresources:
        found[at]["subresources"].append(entry)
    for resource in found.values():
        resource["subresources"].sort(key=lambda entry: entry["name"])
    return [found[at] for at in sorted(found)]


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)


def _reachable(schemas: dict[str, Json], roots: list[str]) -> list[str]:
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_references(schemas[name]))
    return sorted(seen)


def _kind_index(schemas: dict[str, Json]) -> dict[tuple[str, str, str], str]:
    """(group, version, kind) to definition; meta kinds belong to many groups and are found by name instead."""
    index = {}
    for name, schema in schemas.items():
        marks: list[dict[str, str]] = schema.get("x-kubernetes-group-version-kind") or []
        if len(marks) == 1:
            index[(marks[0]["group"], marks[0]["version"], marks[0]["kind"])] = name
    return index


def _kinds() -> tuple[Json, dict[str, dict[str, str]]]:
    schemas, descriptions = _definitions()
    resources = _resources()
    index = _kind_index(schemas)
    roots = list(_ROOTS)
    for resource in resources:
        group, version, kind = resource["group"], resource["version"], resource["kind"]
        resource["definition"] = index[(group, version, kind)]
        if "list" in resource["verbs"]:
            resource["list"] = index[(group, version, kind + "List")]
            roots.append(resource["list"])
        roots.append(resource["definition"])
    kept = _reachable(schemas, roots)
    texts = {name: descriptions[name] for name in kept if descriptions[name]}
    return {"resources": resources, "schemas": {name: schemas[name] for name in kept}}, texts


_SCALARS: Final = frozenset({"string", "bytes", "bool", "int32", "int64", "double"})


def _qualified(kind: str, package: str) -> str:
    """A type with its package: wire.tsv leaves out a message's own."""
    if kind.startswith("map<"):
        key, value = kind[4:-1].split(",")
        return f"map<{_qualified(key, package)},{_qualified(value, package)}>"
    return kind if kind in _SCALARS or "." in kind else f"{package}.{kind}"


def _wire() -> dict[str, dict[str, list[Any]]]:
    """The messages of wire.tsv: `package`, then `message`, then `number name type [repeated]` lines."""
    messages: dict[str, dict[str, list[Any]]] = {}
    package, fields = "", dict[str, list[Any]]()
    for line in WIRE.read_text("utf-8").splitlines():
        words = line.strip().split("\t")
        if not words[0] or words[0].startswith("#"):
            continue
        if not line.startswith("\t"):
            package = words[0]
        elif not line.startswith("\t\t"):
            fields = messages.setdefault(f"{package}.{words[0]}", {})
        else:
            number, name, kind, *repeated = words
            fields[number] = [name, _qualified(kind, package), int(bool(repeated))]
    return messages


def main() -> None:
    """Write the data file; the same inputs give the same bytes."""
    kinds, descriptions = _kinds()
    sections = {
        name: zlib.compress(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), 9)
        for name, value in (("kinds", kinds), ("descriptions", descriptions), ("wire", _wire()))
    }
    header = json.dumps({"sections": {name: len(body) for name, body in sections.items()}}, separators=(",", ":"))
    OUTPUT.write_bytes(header.encode() + b"\n" + b"".join(sections.values()))


if __name__ == "__main__":
    main()
