"""Resources of the API as values, and a constant for each built-in one.

A `Resource` says where objects of a kind live (group, version, plural, scope) and what a single one is called. It is
all that a client needs; verbs, short names and schemas stand in `scheme.py`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one group and version, e.g. ("apps", "v1", "deployments", "Deployment", True)."""

    group: str  # "" is the core group
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""  # complete after birth: defaults to the kind in lower case

    def __post_init__(self) -> None:
        if not self.singular:
            object.__setattr__(self, "singular", self.kind.lower())

    @property
    def group_version(self) -> str:
        """The `apiVersion` of its objects: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """As error messages name it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """As error messages name it: "Pod", "Deployment.apps"."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def prefix(self) -> str:
        """The REST root of the group and version: "/api/v1", "/apis/apps/v1"."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The REST path; no namespace means all namespaces (or a resource of the cluster)."""
        parts = [self.prefix]
        if namespace and self.namespaced:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _namespaced(group: str, plural: str, kind: str, version: str = "v1") -> Resource:
    return Resource(group, version, plural, kind, namespaced=True)


def _cluster(group: str, plural: str, kind: str, version: str = "v1") -> Resource:
    return Resource(group, version, plural, kind, namespaced=False)


BINDINGS: Final = _namespaced("", "bindings", "Binding")
COMPONENT_STATUSES: Final = _cluster("", "componentstatuses", "ComponentStatus")
CONFIG_MAPS: Final = _namespaced("", "configmaps", "ConfigMap")
ENDPOINTS: Final = _namespaced("", "endpoints", "Endpoints")
EVENTS: Final = _namespaced("", "events", "Event")
LIMIT_RANGES: Final = _namespaced("", "limitranges", "LimitRange")
NAMESPACES: Final = _cluster("", "namespaces", "Namespace")
NODES: Final = _cluster("", "nodes", "Node")
PERSISTENT_VOLUME_CLAIMS: Final = _namespaced("", "persistentvolumeclaims", "PersistentVolumeClaim")
PERSISTENT_VOLUMES: Final = _cluster("", "persistentvolumes", "PersistentVolume")
PODS: Final = _namespaced("", "pods", "Pod")
POD_TEMPLATES: Final = _namespaced("", "podtemplates", "PodTemplate")
REPLICATION_CONTROLLERS: Final = _namespaced("", "replicationcontrollers", "ReplicationController")
RESOURCE_QUOTAS: Final = _namespaced("", "resourcequotas", "ResourceQuota")
SECRETS: Final = _namespaced("", "secrets", "Secret")
SERVICE_ACCOUNTS: Final = _namespaced("", "serviceaccounts", "ServiceAccount")
SERVICES: Final = _namespaced("", "services", "Service")

CONTROLLER_REVISIONS: Final = _namespaced("apps", "controllerrevisions", "ControllerRevision")
DAEMON_SETS: Final = _namespaced("apps", "daemonsets", "DaemonSet")
DEPLOYMENTS: Final = _namespaced("apps", "deployments", "Deployment")
REPLICA_SETS: Final = _namespaced("apps", "replicasets", "ReplicaSet")
STATEFUL_SETS: Final = _namespaced("apps", "statefulsets", "StatefulSet")

JOBS: Final = _namespaced("batch", "jobs", "Job")
CRON_JOBS: Final = _namespaced("batch", "cronjobs", "CronJob")

HORIZONTAL_POD_AUTOSCALERS: Final = _namespaced(
    "autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "v2"
)
HORIZONTAL_POD_AUTOSCALERS_V1: Final = _namespaced("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler")

POD_DISRUPTION_BUDGETS: Final = _namespaced("policy", "poddisruptionbudgets", "PodDisruptionBudget")

_RBAC = "rbac.authorization.k8s.io"
ROLES: Final = _namespaced(_RBAC, "roles", "Role")
ROLE_BINDINGS: Final = _namespaced(_RBAC, "rolebindings", "RoleBinding")
CLUSTER_ROLES: Final = _cluster(_RBAC, "clusterroles", "ClusterRole")
CLUSTER_ROLE_BINDINGS: Final = _cluster(_RBAC, "clusterrolebindings", "ClusterRoleBinding")

_NETWORKING = "networking.k8s.io"
INGRESSES: Final = _namespaced(_NETWORKING, "ingresses", "Ingress")
INGRESS_CLASSES: Final = _cluster(_NETWORKING, "ingressclasses", "IngressClass")
NETWORK_POLICIES: Final = _namespaced(_NETWORKING, "networkpolicies", "NetworkPolicy")
IP_ADDRESSES: Final = _cluster(_NETWORKING, "ipaddresses", "IPAddress")
SERVICE_CIDRS: Final = _cluster(_NETWORKING, "servicecidrs", "ServiceCIDR")

ENDPOINT_SLICES: Final = _namespaced("discovery.k8s.io", "endpointslices", "EndpointSlice")
EVENTS_V1: Final = _namespaced("events.k8s.io", "events", "Event")
LEASES: Final = _namespaced("coordination.k8s.io", "leases", "Lease")
RUNTIME_CLASSES: Final = _cluster("node.k8s.io", "runtimeclasses", "RuntimeClass")
PRIORITY_CLASSES: Final = _cluster("scheduling.k8s.io", "priorityclasses", "PriorityClass")

_STORAGE = "storage.k8s.io"
CSI_DRIVERS: Final = _cluster(_STORAGE, "csidrivers", "CSIDriver")
CSI_NODES: Final = _cluster(_STORAGE, "csinodes", "CSINode")
CSI_STORAGE_CAPACITIES: Final = _namespaced(_STORAGE, "csistoragecapacities", "CSIStorageCapacity")
STORAGE_CLASSES: Final = _cluster(_STORAGE, "storageclasses", "StorageClass")
VOLUME_ATTACHMENTS: Final = _cluster(_STORAGE, "volumeattachments", "VolumeAttachment")
VOLUME_ATTRIBUTES_CLASSES: Final = _cluster(_STORAGE, "volumeattributesclasses", "VolumeAttributesClass")

_RESOURCE = "resource.k8s.io"
DEVICE_CLASSES: Final = _cluster(_RESOURCE, "deviceclasses", "DeviceClass")
DEVICE_TAINT_RULES: Final = _cluster(_RESOURCE, "devicetaintrules", "DeviceTaintRule")
RESOURCE_CLAIMS: Final = _namespaced(_RESOURCE, "resourceclaims", "ResourceClaim")
RESOURCE_CLAIM_TEMPLATES: Final = _namespaced(_RESOURCE, "resourceclaimtemplates", "ResourceClaimTemplate")
RESOURCE_SLICES: Final = _cluster(_RESOURCE, "resourceslices", "ResourceSlice")

CERTIFICATE_SIGNING_REQUESTS: Final = _cluster(
    "certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest"
)
CLUSTER_TRUST_BUNDLES: Final = _cluster("certificates.k8s.io", "clustertrustbundles", "ClusterTrustBundle")
POD_CERTIFICATE_REQUESTS: Final = _namespaced("certificates.k8s.io", "podcertificaterequests", "PodCertificateRequest")

SELF_SUBJECT_REVIEWS: Final = _cluster("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview")
TOKEN_REVIEWS: Final = _cluster("authentication.k8s.io", "tokenreviews", "TokenReview")

_AUTHORIZATION = "authorization.k8s.io"
LOCAL_SUBJECT_ACCESS_REVIEWS: Final = _namespaced(
    _AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview"
)
SELF_SUBJECT_ACCESS_REVIEWS: Final = _cluster(_AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview")
SELF_SUBJECT_RULES_REVIEWS: Final = _cluster(_AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview")
SUBJECT_ACCESS_REVIEWS: Final = _cluster(_AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview")

_ADMISSION = "admissionregistration.k8s.io"
MUTATING_WEBHOOK_CONFIGURATIONS: Final = _cluster(
    _ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"
)
VALIDATING_WEBHOOK_CONFIGURATIONS: Final = _cluster(
    _ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"
)
VALIDATING_ADMISSION_POLICIES: Final = _cluster(_ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
VALIDATING_ADMISSION_POLICY_BINDINGS: Final = _cluster(
    _ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
)
MUTATING_ADMISSION_POLICIES: Final = _cluster(_ADMISSION, "mutatingadmissionpolicies", "MutatingAdmissionPolicy")
MUTATING_ADMISSION_POLICY_BINDINGS: Final = _cluster(
    _ADMISSION, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding"
)

CUSTOM_RESOURCE_DEFINITIONS: Final = _cluster(
    "apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition"
)
API_SERVICES: Final = _cluster("apiregistration.k8s.io", "apiservices", "APIService")
FLOW_SCHEMAS: Final = _cluster("flowcontrol.apiserver.k8s.io", "flowschemas", "FlowSchema")
PRIORITY_LEVEL_CONFIGURATIONS: Final = _cluster(
    "flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "PriorityLevelConfiguration"
)
STORAGE_VERSION_MIGRATIONS: Final = _cluster(
    "storagemigration.k8s.io", "storageversionmigrations", "StorageVersionMigration"
)

BUILT_IN: Final[tuple[Resource, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Resource)
)
"""Every constant above."""
