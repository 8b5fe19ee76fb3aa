"""What resources the API serves: asked of its legacy discovery documents, which every server has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from controlplane.machinery.client import ApiClient, ApiError
from controlplane.objects.kinds import Resource

Object = dict[str, Any]

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Discovered:
    """Each resource in its preferred version, with its verbs; `error` names groups that did not answer."""

    verbs: Mapping[Resource, frozenset[str]]
    error: str = ""

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(self.verbs)


def _document(body: bytes) -> Object:
    try:
        found = _decode(body)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(500, "InternalError", "a discovery document is not a JSON object")
    return found


async def discover(client: ApiClient) -> Discovered:
    """Ask. ConnectionLost when nothing answers, ApiError when it is nonsense; groups that fail are named in `error`."""
    index = await client.raw("GET", "/apis")
    groups = _document(index.body).get("groups") or [] if index.status == 200 else []
    wanted = [("", "v1", "/api/v1")]
    for group in groups:
        for version in group.get("versions") or ():
            wanted.append((group["name"], version["version"], f"/apis/{version['groupVersion']}"))
    answers = await asyncio.gather(*(client.raw("GET", path) for _, _, path in wanted))
    verbs: dict[Resource, frozenset[str]] = {}
    seen: set[tuple[str, str]] = set()
    failed = [] if index.status == 200 else ["/apis"]
    for (group_name, version_name, path), answer in zip(wanted, answers):
        if answer.status != 200:
            failed.append(path)
            continue
        for found in _document(answer.body).get("resources") or ():
            # Versions come in order of preference: of a resource served in several, the first counts.
            identity = (found.get("group") or group_name, found["name"])
            if "/" in found["name"] or identity in seen:
                continue
            seen.add(identity)
            version = found.get("version") or version_name
            resource = Resource(identity[0], version, found["name"], found["kind"], bool(found.get("namespaced")))
            verbs[resource] = frozenset(found.get("verbs") or ())
    return Discovered(verbs, ", ".join(failed))
