"""Which kinds have a strategy of their own; all others have the default one."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.crd import strategy as definitions
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.registry import events, namespaces, nodes, pods, secrets, services, volumes, workloads
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
    ("", "persistentvolumes"): volumes.STRATEGY,
    ("", "persistentvolumeclaims"): volumes.STRATEGY,
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

# Kinds of which PUT makes what is not there.
_MADE_BY_UPDATE: Final = frozenset(
    {
        ("", "endpoints"),
        ("", "events"),
        ("events.k8s.io", "events"),
        ("", "limitranges"),
        ("", "services"),
        ("coordination.k8s.io", "leases"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
    }
)

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


def is_made_by_update(resource: Resource) -> bool:
    """Whether a PUT of an object that is not there creates it."""
    return (resource.group, resource.plural) in _MADE_BY_UPDATE


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
