"""PURE: which nodes have something to do with an object, because of the pods that are bound to them.

    node <- pod <- secret, configmap, service account, resource claim, persistent volume claim <- volume <- its secrets
    node <- volume attachment

Kept by events: a pod's references are counted per node, so that an event costs what changed and a question two look-ups.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from controlplane.apiserver.authz import references
from controlplane.apiserver.storage.codec import Object

VOLUME: Final = "persistentvolumes"
ATTACHMENT: Final = "volumeattachments"
POD: Final = "pods"

Vertex = tuple[str, str, str]  # (plural, namespace, name)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A pod on a node and what it refers to."""

    uid: str
    node: str
    references: frozenset[references.Reference]


@dataclass(frozen=True, slots=True)
class _Volume:
    claim: Vertex | None
    secrets: frozenset[tuple[str, str]]


class Graph:
    """Answers `reaches(node, vertex)`."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], _Bound] = {}
        self._nodes: dict[Vertex, Counter[str]] = {}
        self._volumes: dict[str, _Volume] = {}
        self._of_secret: dict[tuple[str, str], set[str]] = {}  # secrets of volumes -> names of volumes
        self._attachments: dict[str, str] = {}

    # Events

    def set_pod(self, pod: Object, *, gone: bool = False) -> None:
        """A pod is as it is now, or gone."""
        metadata = pod["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        node = (pod.get("spec") or {}).get("nodeName") or ""
        new = None if gone or not node else _Bound(metadata.get("uid", ""), node, references.of_pod(pod))
        old = self._pods.get(key)
        if new == old:
            return
        if old is not None:
            del self._pods[key]
            self._count(key[0], old, -1)
        if new is not None:
            self._pods[key] = new
            self._count(key[0], new, 1)

    def _count(self, namespace: str, bound: _Bound, by: int) -> None:
        for kind, name in bound.references:
            vertex = (kind, namespace, name)
            nodes = self._nodes.setdefault(vertex, Counter())
            nodes[bound.node] += by
            if not nodes[bound.node]:
                del nodes[bound.node]
            if not nodes:
                del self._nodes[vertex]

    def set_volume(self, volume: Object, *, gone: bool = False) -> None:
        """A PersistentVolume is as it is now, or gone."""
        name = volume["metadata"]["name"]
        old = self._volumes.pop(name, None)
        for secret in old.secrets if old is not None else ():
            self._of_secret[secret].discard(name)
        if gone:
            return
        claim: Object = (volume.get("spec") or {}).get("claimRef") or {}
        vertex = (references.CLAIM, claim.get("namespace", ""), claim["name"]) if claim.get("name") else None
        made = self._volumes[name] = _Volume(vertex, references.of_volume(volume))
        for secret in made.secrets:
            self._of_secret.setdefault(secret, set()).add(name)

    def set_attachment(self, attachment: Object, *, gone: bool = False) -> None:
        """A VolumeAttachment is as it is now, or gone."""
        name = attachment["metadata"]["name"]
        if gone:
            self._attachments.pop(name, None)
        else:
            self._attachments[name] = (attachment.get("spec") or {}).get("nodeName") or ""

    # Questions

    def reaches(self, node: str, vertex: Vertex) -> bool:
        """Whether the node needs the object."""
        kind, namespace, name = vertex
        if node in self._nodes.get(vertex, ()):
            return True
        if kind == POD:
            bound = self._pods.get((namespace, name))
            return bound is not None and bound.node == node
        if kind == VOLUME:
            return self._needs_volume(node, name)
        if kind == references.SECRET:
            return any(self._needs_volume(node, volume) for volume in self._of_secret.get((namespace, name), ()))
        return kind == ATTACHMENT and self._attachments.get(name) == node

    def _needs_volume(self, node: str, name: str) -> bool:
        volume = self._volumes.get(name)
        return volume is not None and volume.claim is not None and node in self._nodes.get(volume.claim, ())
