"""Discovery as it was before 1.27 and still is for clients that do not ask for the aggregated form."""

from collections.abc import Iterable
from typing import Any

from controlplane.objects.scheme import Group, ResourceInfo, Scheme, Subresource

Document = dict[str, Any]


def api_versions(server_address: str) -> Document:
    """/api: the versions of the core group. `server_address` is "host:port"."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def _group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def _group(group: Group) -> Document:
    versions = [{"groupVersion": _group_version(group.name, version), "version": version} for version in group.versions]
    return {"name": group.name, "versions": versions, "preferredVersion": versions[0]}


def api_group_list(groups: Iterable[Group]) -> Document:
    """/apis: every group but the core one."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in groups if group.name]}


def api_group(groups: Iterable[Group], name: str) -> Document | None:
    """/apis/G; None for a group that is not served."""
    found = next((group for group in groups if group.name == name and name), None)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(found)} if found else None


def _resource(info: ResourceInfo) -> Document:
    resource = info.resource
    entry: Document = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(info.verbs),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    if "create" in info.verbs and "get" in info.verbs:
        entry["storageVersionHash"] = info.storage_version_hash
    return entry


def _subresource(info: ResourceInfo, found: Subresource) -> Document:
    entry: Document = {
        "name": f"{info.resource.plural}/{found.name}",
        "singularName": "",
        "namespaced": info.resource.namespaced,
    }
    if (found.group, found.version) != (info.resource.group, info.resource.version):
        entry |= {"group": found.group, "version": found.version}
    return {**entry, "kind": found.kind, "verbs": list(found.verbs)}


def api_resource_list(scheme: Scheme, group: str, version: str) -> Document | None:
    """/apis/G/V, and /api/v1 with group ""; None when it is not served."""
    infos = scheme.in_version(group, version)
    if not infos:
        return None
    resources = []
    for info in infos:
        resources.append(_resource(info))
        resources += [_subresource(info, found) for found in info.subresources]
    document = {"kind": "APIResourceList", "groupVersion": _group_version(group, version), "resources": resources}
    return document if not group else {"kind": "APIResourceList", "apiVersion": "v1", **document}
