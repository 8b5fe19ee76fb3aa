"""Discovery in one answer: APIGroupDiscoveryList (apidiscovery.k8s.io v2, and v2beta1 for older clients)."""

from typing import Any, Final, Literal

from controlplane.objects.scheme import Group, ResourceInfo, Scheme

Document = dict[str, Any]
Version = Literal["v2", "v2beta1"]

GROUP: Final = "apidiscovery.k8s.io"


def media_type(version: Version) -> str:
    """The Content-Type of the answer: the parameters say which form it has, in this order."""
    return f"application/json;g={GROUP};v={version};as=APIGroupDiscoveryList"


def _kind(group: str, version: str, kind: str) -> Document:
    return {"group": group, "version": version, "kind": kind}


def _subresources(info: ResourceInfo) -> list[Document]:
    entries: list[Document] = []
    for found in info.subresources:
        kind = _kind(found.group, found.version, found.kind)
        entry: Document = {"subresource": found.name, "responseKind": kind}
        if found.verbs == ("create",):
            entry["acceptedTypes"] = [kind]
        entries.append({**entry, "verbs": list(found.verbs)})
    return entries


def _resource(info: ResourceInfo) -> Document:
    resource = info.resource
    entry: Document = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(info.verbs),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    if info.subresources:
        entry["subresources"] = _subresources(info)
    return entry


def _group(scheme: Scheme, group: Group) -> Document:
    versions = [
        {
            "version": version,
            "resources": [_resource(info) for info in scheme.in_version(group.name, version)],
            "freshness": "Current",
        }
        for version in group.versions
    ]
    metadata: Document = {"name": group.name} if group.name else {}
    return {"metadata": {**metadata, "creationTimestamp": None}, "versions": versions}


def group_discovery_list(scheme: Scheme, *, core: bool, version: Version = "v2") -> Document:
    """What /api (`core`) or /apis answers: groups in priority order, versions preferred first."""
    items = [_group(scheme, group) for group in scheme.groups() if core == (not group.name)]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"{GROUP}/{version}", "metadata": {}, "items": items}
