"""OpenAPI 3: one document a group and version."""

from typing import Any, Final

from controlplane.apiserver.openapi import schemas
from controlplane.apiserver.openapi.routes import META, QUERY, Operation, Route, definitions_of, group_path, routes
from controlplane.apiserver.openapi.schemas import V3, Descriptions
from controlplane.objects.scheme import Scheme

Document = dict[str, Any]

_TYPES: Final = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_PATCHES: Final = (
    "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)  # fmt: skip
_PATH_WORDS: Final = {
    "namespace": "object name and auth scope, such as for teams and projects",
    "path": "path to the resource",
}
_SECURITY: Final = {
    "BearerToken": {
        "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
    }
}  # fmt: skip


def _schema(name: str) -> Document:
    return {"$ref": V3.prefix + name} if name else {"type": "string"}


def _content(types: tuple[str, ...], name: str) -> Document:
    return {media_type: {"schema": _schema(name)} for media_type in types}


def _query(name: str) -> Document:
    kind, words = QUERY[name]
    return {"name": name, "in": "query", "description": words, "schema": {"type": kind, "uniqueItems": True}}


def _path_parameter(name: str, kind: str) -> Document:
    words = _PATH_WORDS.get(name, f"name of the {kind}")
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "description": words, "required": True, "schema": schema}


def _responses(operation: Operation) -> Document:
    types = _TYPES if operation.result else ("*/*",)
    ok = {"description": "OK", "content": _content(types, operation.result)}
    responses: Document = {"200": ok}
    if operation.action in ("post", "put", "patch"):
        responses["201"] = {**ok, "description": "Created"}
    if operation.action in ("post", "delete"):
        responses["202"] = {**ok, "description": "Accepted"}
    return {**responses, "401": {"description": "Unauthorized"}}


def _operation(found: Operation, tag: str) -> Document:
    group, version, kind = found.kind
    document: Document = {
        "tags": [tag],
        "description": found.description,
        "operationId": found.identifier,
        "parameters": [_query(name) for name in found.query],
    }
    if found.body:
        types = _PATCHES if found.action == "patch" else ("*/*",)
        document["requestBody"] = {"content": _content(types, found.body)}
        if not found.action.startswith("delete"):
            document["requestBody"]["required"] = True
    return {
        **document,
        "responses": _responses(found),
        "x-kubernetes-action": found.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    }


def _item(route: Route, tag: str) -> Document:
    item: Document = {operation.method: _operation(operation, tag) for operation in route.operations}
    kind = route.operations[0].kind[2] if route.operations else ""
    item["parameters"] = [*(_path_parameter(name, kind) for name in route.parameters), _query("pretty")]
    return item


def _root(tag: str) -> Document:
    result = {"description": "OK", "content": _content(_TYPES, META + "APIResourceList")}
    return {
        "get": {
            "tags": [tag],
            "description": "get available resources",
            "operationId": f"get{tag}APIResources",
            "responses": {"200": result, "401": {"description": "Unauthorized"}},
        }
    }


def document(scheme: Scheme, group: str, version: str, texts: Descriptions, release: str) -> Document:
    """The document of one group and version; `release` is Kubernetes' version ("v1.37.0")."""
    tag = f"{group.removesuffix('.k8s.io').replace('.', '') or 'core'}_{version}"
    root = f"/{group_path(group, version)}/"
    paths = {root: _root(tag), **{route.path: _item(route, tag) for route in routes(scheme, group, version)}}
    names = schemas.reachable(scheme.definitions, definitions_of(scheme, group, version))
    components = {
        "schemas": schemas.render(scheme.definitions, names, texts, V3),
        "securitySchemes": _SECURITY,
    }
    info = {"title": "Kubernetes", "version": release}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": components}
