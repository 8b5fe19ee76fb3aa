"""A container's environment, command and arguments, resolved as Kubernetes does.  Pure.

Order, later wins: service variables, envFrom, env. $(NAME) refers to what stands before it; $$ is a dollar sign.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.kubelet.model import Pod
from controlplane.kubelet.resources import resource_field
from controlplane.kubelet.runtimes.port import StartFailed
from controlplane.objects.quantity import Quantity

_REFERENCE = re.compile(r"\$\$|\$\(([^()$]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")

Lookup = Mapping[tuple[str, str], Mapping[str, Any] | None]  # ("ConfigMap" | "Secret", name) -> object, or None: absent


@dataclass(frozen=True, slots=True)
class Facts:
    """What a pod may ask about itself that does not stand in its spec."""

    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Mapping[str, Quantity] = field(default_factory=dict)


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace $(NAME) where NAME is known; leave it where it is not; $$ becomes $."""

    def substitute(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return known.get(match[1], match[0])

    return _REFERENCE.sub(substitute, text)


def expand_all(texts: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """`expand` over a command line."""
    return tuple(expand(text, known) for text in texts)


def references(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The ("ConfigMap" | "Secret", name) that the container's environment needs."""
    for source in container.get("envFrom") or ():
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if source.get(key):
                yield kind, source[key].get("name", "")
    for entry in container.get("env") or ():
        value_from = entry.get("valueFrom") or {}
        for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if value_from.get(key):
                yield kind, value_from[key].get("name", "")


def resolve(
    pod: Pod, container: Mapping[str, Any], services: Iterable[Mapping[str, Any]], lookup: Lookup, facts: Facts
) -> dict[str, str]:
    """The container's variables. Raises StartFailed(CreateContainerConfigError) for a reference to nothing."""
    result = service_variables(services)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if source.get(key):
                for name, value in sorted(_whole(kind, source[key], lookup).items()):
                    if _NAME.match(prefix + name):
                        result[prefix + name] = value
    for entry in container.get("env") or ():
        if entry.get("valueFrom"):
            found = _value_from(pod, container, entry["valueFrom"], lookup, facts)
            if found is not None:
                result[entry["name"]] = found
        else:
            result[entry["name"]] = expand(entry.get("value") or "", result)
    return result


def service_variables(services: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """NAME_SERVICE_HOST, NAME_SERVICE_PORT[_PORTNAME] and the older NAME_PORT... of each Service with a cluster IP."""
    result: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports") or ()
        if not address or address == "None" or not ports:
            continue
        name = service["metadata"]["name"].upper().replace("-", "_").replace(".", "_")
        result[f"{name}_SERVICE_HOST"] = address
        result[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for index, port in enumerate(ports):
            protocol = (port.get("protocol") or "TCP").upper()
            if port.get("name"):
                result[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            url = f"{protocol.lower()}://{address}:{port['port']}"
            if index == 0:
                result[f"{name}_PORT"] = url
            prefix = f"{name}_PORT_{port['port']}_{protocol}"
            result[prefix] = url
            result[prefix + "_PROTO"] = protocol.lower()
            result[prefix + "_PORT"] = str(port["port"])
            result[prefix + "_ADDR"] = address
    return result


def pod_field(pod: Pod, path: str, facts: Facts) -> str:
    """The value of a fieldRef. Raises StartFailed for a path that Kubernetes does not offer."""
    meta, spec = pod["metadata"], pod["spec"]
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((meta.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = meta.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(entries.items()))
    values = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    if path not in values:
        raise StartFailed("CreateContainerConfigError", f"unsupported fieldPath: {path}")
    return str(values[path])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value_from(
    pod: Pod, container: Mapping[str, Any], source: Mapping[str, Any], lookup: Lookup, facts: Facts
) -> str | None:
    if source.get("fieldRef"):
        return pod_field(pod, source["fieldRef"].get("fieldPath", ""), facts)
    if source.get("resourceFieldRef"):
        return resource_field(pod, container, source["resourceFieldRef"], facts.allocatable)
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        reference = source.get(key)
        if reference:
            data = _whole(kind, reference, lookup)
            if reference["key"] in data:
                return data[reference["key"]]
            if reference.get("optional"):
                return None
            owner = f"{kind} {pod['metadata'].get('namespace', '')}/{reference.get('name', '')}"
            raise StartFailed("CreateContainerConfigError", f"couldn't find key {reference['key']} in {owner}")
    return None


def _whole(kind: str, reference: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    name = reference.get("name", "")
    found = lookup.get((kind, name))
    if found is None:
        if reference.get("optional"):
            return {}
        raise StartFailed("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')
    return {key: value.decode("utf-8", "replace") for key, value in payload(kind, found).items()}


def payload(kind: str, found: Mapping[str, Any]) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret as bytes."""
    if kind == "Secret":
        return {key: base64.b64decode(value or "") for key, value in (found.get("data") or {}).items()}
    result = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
    result.update({key: base64.b64decode(value or "") for key, value in (found.get("binaryData") or {}).items()})
    return result
