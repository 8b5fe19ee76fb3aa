"""Root CA publisher: every active namespace has the ConfigMap `kube-root-ca.crt`, which pods mount to trust the API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.machinery.actions import Create, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Related, Watch
from controlplane.objects.kinds import CONFIG_MAPS, NAMESPACES
from controlplane.objects.meta import annotations_of, get_in, is_deleting, name_of, namespace_of, with_annotations

Object = dict[str, Any]

CONFIG_MAP = "kube-root-ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
        "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
        "Kubernetes clusters."
    )
}


@dataclass(frozen=True, slots=True)
class Observed:
    """A namespace and its ConfigMap, if it has one."""

    namespace: Object
    config_map: Object | None


def _namespace_of_bundle(config_map: Object, _: Caches) -> Iterable[str]:
    return (namespace_of(config_map),) if name_of(config_map) == CONFIG_MAP else ()


class RootCaPublisher:
    """`bundle` is PEM text."""

    NAME = "root-ca-certificate-publisher-controller"
    WATCHES: tuple[Watch, ...] = (
        Kind(NAMESPACES),
        Related(CONFIG_MAPS, _namespace_of_bundle, field_selector=f"metadata.name={CONFIG_MAP}"),
    )

    def __init__(self, bundle: str) -> None:
        self._data = {"ca.crt": bundle}

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """The namespace and its bundle, or None when it is gone."""
        namespace = caches[NAMESPACES].get(key)
        return Observed(namespace, caches[CONFIG_MAPS].get(f"{key}/{CONFIG_MAP}")) if namespace else None

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Make or mend the ConfigMap."""
        namespace, found = observed.namespace, observed.config_map
        if is_deleting(namespace) or get_in(namespace, "status", "phase") == "Terminating":
            return Plan()
        if found is None:
            metadata = {"name": CONFIG_MAP, "namespace": name_of(namespace), "annotations": DESCRIPTION}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self._data}
            return Plan((Create(CONFIG_MAPS, made, exists_ok=True),))
        if found.get("data") == self._data and DESCRIPTION.items() <= annotations_of(found).items():
            return Plan()
        return Plan((Update(CONFIG_MAPS, {**with_annotations(found, DESCRIPTION), "data": self._data}),))
