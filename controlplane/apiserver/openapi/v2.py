"""OpenAPI 2 (Swagger): one document of everything, for older clients."""

from typing import Any, Final

from controlplane.apiserver.openapi import schemas
from controlplane.apiserver.openapi.routes import QUERY, Operation, Route, definitions_of, routes
from controlplane.apiserver.openapi.schemas import V2, Descriptions
from controlplane.objects.scheme import Scheme

Document = dict[str, Any]

_TYPES: Final = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
_PATCHES: Final = [
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]  # fmt: skip
_SECURITY: Final = {
    "BearerToken": {
        "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header",
    }
}  # fmt: skip


def _schema(name: str) -> Document:
    return {"$ref": V2.prefix + name} if name else {"type": "string"}


def _query(name: str) -> Document:
    kind, words = QUERY[name]
    return {"uniqueItems": True, "type": kind, "description": words, "name": name, "in": "query"}


def _operation(found: Operation, tag: str) -> Document:
    group, version, kind = found.kind
    parameters = [_query(name) for name in found.query]
    if found.body:
        required = not found.action.startswith("delete")
        body = {"name": "body", "in": "body", "schema": _schema(found.body)}
        parameters.append({**body, "required": True} if required else body)
    ok = {"description": "OK", "schema": _schema(found.result)}
    return {
        "description": found.description,
        "consumes": _PATCHES if found.action == "patch" else ["*/*"],
        "produces": _TYPES if found.result else ["*/*"],
        "schemes": ["https"],
        "tags": [tag],
        "operationId": found.identifier,
        "parameters": parameters,
        "responses": {"200": ok, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": found.action,
        "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version},
    }


def _item(route: Route, tag: str) -> Document:
    item: Document = {operation.method: _operation(operation, tag) for operation in route.operations}
    named = [
        {"uniqueItems": True, "type": "string", "description": name, "name": name, "in": "path", "required": True}
        for name in route.parameters
    ]
    return {**item, "parameters": [*named, _query("pretty")]}


def document(scheme: Scheme, texts: Descriptions, release: str) -> Document:
    """The document of all groups and versions."""
    paths: Document = {}
    roots: set[str] = set()
    for group in scheme.groups():
        for version in group.versions:
            tag = f"{group.name.removesuffix('.k8s.io').replace('.', '') or 'core'}_{version}"
            paths |= {route.path: _item(route, tag) for route in routes(scheme, group.name, version)}
            roots |= set(definitions_of(scheme, group.name, version))
    names = schemas.reachable(scheme.definitions, roots)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": release},
        "paths": paths,
        "definitions": schemas.render(scheme.definitions, names, texts, V2),
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }
