"""FlowSchemas and PriorityLevelConfigurations: those that a cluster begins with, and those in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec

from controlplane.apiserver.storage.store import Write
from controlplane.objects import status
from controlplane.objects.kinds import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS, Resource
from controlplane.objects.meta import with_condition

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

Object = dict[str, Any]

MANDATORY: Final = frozenset({"exempt", "catch-all"})
_ANNOTATIONS: Final = {"apf.kubernetes.io/autoupdate-spec": "true"}


@cache
def _defaults() -> dict[str, list[Object]]:
    text = files("controlplane.apiserver.fairness").joinpath("data", "defaults.json").read_bytes()
    found: dict[str, list[Object]] = msgspec.json.decode(text)
    return found


def _objects(section: str, resource: Resource) -> Iterator[Object]:
    for entry in _defaults()[section]:
        metadata = {"name": entry["name"], "annotations": dict(_ANNOTATIONS), "generation": 1}
        yield {
            "apiVersion": resource.group_version,
            "kind": resource.kind,
            "metadata": metadata,
            "spec": entry["spec"],
            "status": {},
        }


def bootstrap() -> Iterator[tuple[Resource, Object]]:
    """Mandatory and suggested objects."""
    for section, resource in (("priorityLevels", PRIORITY_LEVEL_CONFIGURATIONS), ("flowSchemas", FLOW_SCHEMAS)):
        for obj in _objects(section, resource):
            yield resource, obj


def mandatory_levels() -> list[Object]:
    return [
        obj for obj in _objects("priorityLevels", PRIORITY_LEVEL_CONFIGURATIONS) if obj["metadata"]["name"] in MANDATORY
    ]


def mandatory_schemas() -> list[Object]:
    return [obj for obj in _objects("flowSchemas", FLOW_SCHEMAS) if obj["metadata"]["name"] in MANDATORY]


async def follow(services: Services) -> None:
    """Configure the server's fairness by the objects in the store, as they change, until cancelled."""
    changed = asyncio.Event()
    caches = [await services.caches.ready(each) for each in (PRIORITY_LEVEL_CONFIGURATIONS, FLOW_SCHEMAS)]
    for each in caches:
        each.listen(lambda event: changed.set())
    while True:
        changed.clear()
        levels, schemas = ([entry.object() for entry in each.entries()] for each in caches)
        services.fairness.configure(levels, schemas)
        await _tell_dangling(services, {each["metadata"]["name"] for each in levels}, schemas)
        await changed.wait()


def _condition(schema: Object, levels: set[str]) -> Object:
    name = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name", "")
    head = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}"'
    if name in levels:
        return {"type": "Dangling", "status": "False", "reason": "Found", "message": f"{head} and it exists"}
    return {
        "type": "Dangling",
        "status": "True",
        "reason": "NotFound",
        "message": f"{head} but there is no such object",
    }


async def _tell_dangling(services: Services, levels: set[str], schemas: list[Object]) -> None:
    """Write the condition of schemas whose level came or went; several servers may, and agree."""
    for schema in schemas:
        wanted = _condition(schema, levels)
        present = ((schema.get("status") or {}).get("conditions") or [{}])[0]
        if any(present.get(name) != value for name, value in wanted.items()):
            await _write(services, schema["metadata"]["name"], wanted)


async def _write(services: Services, name: str, condition: Object) -> None:
    from controlplane.apiserver.storage import layout

    key = layout.key(FLOW_SCHEMAS.group, FLOW_SCHEMAS.plural, "", name)

    async def decide(current: Object) -> Write:
        found = dict(current.get("status") or {})
        found["conditions"] = with_condition(found.get("conditions") or [], condition, services.environment.now())
        return Write({**current, "status": found})

    try:
        await services.store.change(key, decide, lambda: status.not_found(FLOW_SCHEMAS, name))
    except status.ApiError as error:
        if error.code not in (404, 409, 503, 504):
            raise
