"""Enumerations, which the schema packages lack: (definition, field) to the values it may have.

An absent or empty value is not unsupported. Sources: types.go and validation.go of each group.
"""

from typing import Any, Final

from controlplane.objects.status import FieldError

_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_PULL: Final = ("Always", "IfNotPresent", "Never")
_STATUS: Final = ("False", "True", "Unknown")
_ACCESS: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_FAILURE: Final = ("Fail", "Ignore")
_MATCH: Final = ("Equivalent", "Exact")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun", "Some", "Unknown")
_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")

ENUMS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("Container", "imagePullPolicy"): _PULL,
    ("EphemeralContainer", "imagePullPolicy"): _PULL,
    ("Container", "terminationMessagePolicy"): ("FallbackToLogsOnError", "File"),
    ("ContainerPort", "protocol"): _PROTOCOLS,
    ("ServicePort", "protocol"): _PROTOCOLS,
    ("EndpointPort", "protocol"): _PROTOCOLS,
    ("NetworkPolicyPort", "protocol"): _PROTOCOLS,
    ("PodSpec", "restartPolicy"): ("Always", "OnFailure", "Never"),
    ("PodSpec", "dnsPolicy"): ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    ("PodSpec", "preemptionPolicy"): ("Never", "PreemptLowerPriority"),
    ("HTTPGetAction", "scheme"): ("HTTP", "HTTPS"),
    ("Toleration", "effect"): ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("Toleration", "operator"): ("Equal", "Exists", "Gt", "Lt"),
    ("Taint", "effect"): _EFFECTS,
    ("NodeSelectorRequirement", "operator"): ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    ("TopologySpreadConstraint", "whenUnsatisfiable"): ("DoNotSchedule", "ScheduleAnyway"),
    ("EmptyDirVolumeSource", "medium"): ("Memory", "HugePages"),
    ("HostPathVolumeSource", "type"): (
        "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
    ),
    ("PersistentVolumeSpec", "persistentVolumeReclaimPolicy"): ("Delete", "Recycle", "Retain"),
    ("PersistentVolumeSpec", "volumeMode"): ("Block", "Filesystem"),
    ("PersistentVolumeClaimSpec", "volumeMode"): ("Block", "Filesystem"),
    ("PersistentVolumeSpec", "accessModes"): _ACCESS,
    ("PersistentVolumeClaimSpec", "accessModes"): _ACCESS,
    ("ServiceSpec", "type"): ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"),
    ("ServiceSpec", "sessionAffinity"): ("ClientIP", "None"),
    ("ServiceSpec", "externalTrafficPolicy"): ("Cluster", "Local"),
    ("ServiceSpec", "internalTrafficPolicy"): ("Cluster", "Local"),
    ("ServiceSpec", "ipFamilyPolicy"): ("PreferDualStack", "RequireDualStack", "SingleStack"),
    ("LimitRangeItem", "type"): ("Container", "PersistentVolumeClaim", "Pod"),
    ("DeploymentStrategy", "type"): ("Recreate", "RollingUpdate"),
    ("DaemonSetUpdateStrategy", "type"): ("OnDelete", "RollingUpdate"),
    ("StatefulSetUpdateStrategy", "type"): ("OnDelete", "RollingUpdate"),
    ("StatefulSetSpec", "podManagementPolicy"): ("OrderedReady", "Parallel"),
    ("JobSpec", "completionMode"): ("Indexed", "NonIndexed"),
    ("JobSpec", "podReplacementPolicy"): ("Failed", "TerminatingOrFailed"),
    ("CronJobSpec", "concurrencyPolicy"): ("Allow", "Forbid", "Replace"),
    ("MetricTarget", "type"): ("AverageValue", "Utilization", "Value"),
    ("MetricSpec", "type"): ("ContainerResource", "External", "Object", "Pods", "Resource"),
    ("HPAScalingRules", "selectPolicy"): ("Disabled", "Max", "Min"),
    ("HPAScalingPolicy", "type"): ("Percent", "Pods"),
    ("HTTPIngressPath", "pathType"): ("Exact", "ImplementationSpecific", "Prefix"),
    ("NetworkPolicySpec", "policyTypes"): ("Egress", "Ingress"),
    ("PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy"): ("AlwaysAllow", "IfHealthyBudget"),
    ("StorageClass", "reclaimPolicy"): ("Delete", "Retain"),
    ("StorageClass", "volumeBindingMode"): ("Immediate", "WaitForFirstConsumer"),
    ("PriorityClass", "preemptionPolicy"): ("Never", "PreemptLowerPriority"),
    ("EndpointSlice", "addressType"): ("FQDN", "IPv4", "IPv6"),
    ("Subject", "kind"): ("Group", "ServiceAccount", "User"),
    ("MutatingWebhook", "failurePolicy"): _FAILURE,
    ("ValidatingWebhook", "failurePolicy"): _FAILURE,
    ("MutatingWebhook", "matchPolicy"): _MATCH,
    ("ValidatingWebhook", "matchPolicy"): _MATCH,
    ("MutatingWebhook", "sideEffects"): _SIDE_EFFECTS,
    ("ValidatingWebhook", "sideEffects"): _SIDE_EFFECTS,
    ("RuleWithOperations", "operations"): _OPERATIONS,
    ("MutatingWebhook", "reinvocationPolicy"): ("IfNeeded", "Never"),
    ("CustomResourceDefinitionSpec", "scope"): ("Cluster", "Namespaced"),
    ("NodeCondition", "status"): _STATUS,
}  # fmt: skip
BY_OWNER: Final[dict[str, dict[str, tuple[str, ...]]]] = {}
for (_owner, _field), _values in ENUMS.items():
    BY_OWNER.setdefault(_owner, {})[_field] = _values
# fields whose values may also begin with one of the enumerated ones ("HugePages-2Mi")
_PREFIXES: Final = frozenset({("EmptyDirVolumeSource", "medium")})


def unsupported(owner: str, field: str, value: Any, path: str) -> list[FieldError]:
    """What is wrong with the value of an enumerated field (or with the values in its list)."""
    supported = ENUMS[(owner, field)]
    if isinstance(value, list):
        found = ((f"{path}[{position}]", part) for position, part in enumerate(value))
        return [FieldError.not_supported(where, part, supported) for where, part in found if part not in supported]
    if not value or value in supported:
        return []
    if (owner, field) in _PREFIXES and any(str(value).startswith(f"{known}-") for known in supported):
        return []
    return [FieldError.not_supported(path, value, supported)]
