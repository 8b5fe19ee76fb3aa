"""Discovery and OpenAPI of this server and of others, merged. Pure: no request, no clock.

Groups stand in the order of their priority, versions of a group in theirs; a version that another server serves is that
server's, even where this one has it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.apiserver.aggregation.local import group_priority, version_priority
from controlplane.apiserver.aggregation.remote import Remote
from controlplane.objects.scheme import Group, version_rank

Object = dict[str, Any]


def groups_with(groups: Iterable[Group], remotes: Iterable[Remote]) -> tuple[Group, ...]:
    """The groups of both, each with the versions of both."""
    ranks: dict[str, int] = {}
    versions: dict[str, dict[str, int]] = {}
    for group in groups:
        ranks[group.name] = group_priority(group.name)
        versions[group.name] = {name: version_priority(group.name, name) for name in group.versions}
    for remote in remotes:
        spec = remote.spec
        rank = int(spec.get("groupPriorityMinimum") or 0)
        ranks[remote.group] = max(rank, ranks.get(remote.group, 0))
        versions.setdefault(remote.group, {})[remote.version] = int(spec.get("versionPriority") or 0)

    def preferred(found: dict[str, int]) -> tuple[str, ...]:
        return tuple(sorted(found, key=lambda name: (-found[name], version_rank(name))))

    order = sorted(ranks, key=lambda name: -ranks[name])  # stable: ours keep their order among equals
    return tuple(Group(name, preferred(versions[name])) for name in order)


def _discovered(remote: Remote) -> Object:
    """A version in the aggregated form, made of the legacy form that every server has."""
    found: dict[str, Object] = {}
    for resource in sorted(remote.resources, key=lambda each: each["name"].count("/")):
        name, _, subresource = resource["name"].partition("/")
        kind = {
            "group": resource.get("group") or remote.group,
            "version": resource.get("version") or remote.version,
            "kind": resource.get("kind", ""),
        }
        verbs = list(resource.get("verbs") or ())
        if subresource:
            owner = found.setdefault(name, {"resource": name, "scope": _scope(resource), "verbs": []})
            owner.setdefault("subresources", []).append(
                {"subresource": subresource, "responseKind": kind, "verbs": verbs}
            )
            continue
        found[name] = {
            "resource": name,
            "responseKind": kind,
            "scope": _scope(resource),
            "singularResource": resource.get("singularName", ""),
            "verbs": verbs,
        }
        for field in ("shortNames", "categories"):
            if resource.get(field):
                found[name][field] = list(resource[field])
    freshness = "Current" if remote.is_available else "Stale"
    return {"version": remote.version, "resources": list(found.values()), "freshness": freshness}


def _scope(resource: Object) -> str:
    return "Namespaced" if resource.get("namespaced") else "Cluster"


def discovery_with(document: Object, groups: Iterable[Group], remotes: Iterable[Remote]) -> Object:
    """An APIGroupDiscoveryList of ours with what others serve; `groups` is the order of both."""
    versions: dict[tuple[str, str], Object] = {}
    for item in document["items"]:
        for version in item["versions"]:
            versions[(item["metadata"].get("name", ""), version["version"])] = version
    for remote in remotes:
        versions[(remote.group, remote.version)] = _discovered(remote)
    items = [
        {
            "metadata": {"name": group.name, "creationTimestamp": None},
            "versions": [versions[(group.name, name)] for name in group.versions],
        }
        for group in groups
        if group.name
    ]
    return {**document, "items": items}


def index_with(index: Object, remotes: Iterable[Remote]) -> Object:
    """The document at /openapi/v3."""
    paths = dict(index["paths"])
    for remote in remotes:
        name = remote.path.lstrip("/")
        if name in remote.openapi:
            paths[name] = remote.openapi[name]
        else:
            paths.pop(name, None)
    return {"paths": dict(sorted(paths.items()))}


def swagger_with(document: Object, remotes: Iterable[Remote]) -> Object:
    """The document at /openapi/v2. A definition that both have is ours: those are Kubernetes' own."""
    paths, definitions = dict(document["paths"]), dict(document["definitions"])
    for remote in remotes:
        theirs = remote.swagger.get("paths") or {}
        below = {path: part for path, part in theirs.items() if f"{path}/".startswith(f"{remote.path}/")}
        if below:
            paths = {path: part for path, part in paths.items() if not f"{path}/".startswith(f"{remote.path}/")}
            paths |= below
            definitions = {**(remote.swagger.get("definitions") or {}), **definitions}
    return {**document, "paths": paths, "definitions": definitions}
