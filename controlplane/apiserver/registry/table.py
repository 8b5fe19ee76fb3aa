"""Which kinds have a strategy of their own; all others have the default one."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.crd import strategy as definitions
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.registry import events, namespaces, nodes, pods, secrets, services, workloads
from controlplane.apiserver.registry.strategy import Strategy
from controlplane.objects.kinds import Resource

DEFAULT: Final = Strategy()
COUNTED: Final = Strategy(counts_generation=True)
CUSTOM: Final = Strategy(counts_generation=True, needs_revision=True)

# Kinds whose metadata.generation counts changes outside metadata and status.
_COUNTED: Final = (
    ("apps", "controllerrevisions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("discovery.k8s.io", "endpointslices"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceslices"),
)
STRATEGIES: Final[dict[tuple[str, str], Strategy]] = {
    **dict.fromkeys(_COUNTED, COUNTED),
    ("apiextensions.k8s.io", "customresourcedefinitions"): definitions.STRATEGY,
    ("", "pods"): pods.STRATEGY,
    ("", "nodes"): nodes.STRATEGY,
    ("", "services"): services.STRATEGY,
    ("", "namespaces"): namespaces.STRATEGY,
    ("", "secrets"): secrets.STRATEGY,
    ("", "events"): events.STRATEGY,
    ("events.k8s.io", "events"): events.STRATEGY,
    ("", "replicationcontrollers"): workloads.REPLICATION_CONTROLLERS,
    ("apps", "deployments"): workloads.STRATEGY,
    ("apps", "replicasets"): workloads.STRATEGY,
    ("apps", "statefulsets"): workloads.STRATEGY,
    ("apps", "daemonsets"): workloads.STRATEGY,
    ("batch", "jobs"): workloads.JOBS,
    ("batch", "cronjobs"): workloads.STRATEGY,
}

# Kinds whose deletion answers the object that went, in place of a Status.
_ANSWER_THE_DELETED: Final = frozenset(
    ("", plural)
    for plural in (
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    )
)
_ANSWERING_GROUPS: Final = frozenset({"storage.k8s.io", "resource.k8s.io"})


def answers_the_deleted(resource: Resource) -> bool:
    """Whether DELETE answers the object when it is gone."""
    identity = (resource.group, resource.plural)
    return identity in _ANSWER_THE_DELETED or (
        resource.group in _ANSWERING_GROUPS and resource.plural != "csistoragecapacities"
    )


def strategy_of(resource: Resource) -> Strategy:
    """The strategy of a resource."""
    if isinstance(resource, CustomResource):
        return CUSTOM
    return STRATEGIES.get((resource.group, resource.plural), DEFAULT)
