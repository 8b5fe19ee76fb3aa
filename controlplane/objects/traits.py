"""What the schema packages do not say about resources: short names, categories, subresources that only connect, order.

Sources: discovery of a real API server, pkg/registry of Kubernetes.
"""

from typing import Final

Key = tuple[str, str]  # (group, plural)

_RBAC, _NET, _STORAGE = "rbac.authorization.k8s.io", "networking.k8s.io", "storage.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"

SHORT_NAMES: Final[dict[Key, tuple[str, ...]]] = {
    ("", "componentstatuses"): ("cs",),
    ("", "configmaps"): ("cm",),
    ("", "endpoints"): ("ep",),
    ("", "events"): ("ev",),
    ("", "limitranges"): ("limits",),
    ("", "namespaces"): ("ns",),
    ("", "nodes"): ("no",),
    ("", "persistentvolumeclaims"): ("pvc",),
    ("", "persistentvolumes"): ("pv",),
    ("", "pods"): ("po",),
    ("", "replicationcontrollers"): ("rc",),
    ("", "resourcequotas"): ("quota",),
    ("", "serviceaccounts"): ("sa",),
    ("", "services"): ("svc",),
    ("apps", "daemonsets"): ("ds",),
    ("apps", "deployments"): ("deploy",),
    ("apps", "replicasets"): ("rs",),
    ("apps", "statefulsets"): ("sts",),
    ("events.k8s.io", "events"): ("ev",),
    ("autoscaling", "horizontalpodautoscalers"): ("hpa",),
    ("batch", "cronjobs"): ("cj",),
    ("certificates.k8s.io", "certificatesigningrequests"): ("csr",),
    (_NET, "ingresses"): ("ing",),
    (_NET, "ipaddresses"): ("ip",),
    (_NET, "networkpolicies"): ("netpol",),
    ("policy", "poddisruptionbudgets"): ("pdb",),
    (_STORAGE, "storageclasses"): ("sc",),
    (_STORAGE, "volumeattributesclasses"): ("vac",),
    ("apiextensions.k8s.io", "customresourcedefinitions"): ("crd", "crds"),
    ("scheduling.k8s.io", "priorityclasses"): ("pc",),
}

CATEGORIES: Final[dict[Key, tuple[str, ...]]] = {
    **{("", plural): ("all",) for plural in ("pods", "replicationcontrollers", "services")},
    **{("apps", plural): ("all",) for plural in ("daemonsets", "deployments", "replicasets", "statefulsets")},
    ("autoscaling", "horizontalpodautoscalers"): ("all",),
    ("batch", "cronjobs"): ("all",),
    ("batch", "jobs"): ("all",),
    ("apiregistration.k8s.io", "apiservices"): ("api-extensions",),
    ("apiextensions.k8s.io", "customresourcedefinitions"): ("api-extensions",),
    (_ADMISSION, "mutatingadmissionpolicies"): ("api-extensions",),
    (_ADMISSION, "mutatingadmissionpolicybindings"): ("api-extensions",),
    (_ADMISSION, "mutatingwebhookconfigurations"): ("api-extensions",),
    (_ADMISSION, "validatingadmissionpolicies"): ("api-extensions",),
    (_ADMISSION, "validatingadmissionpolicybindings"): ("api-extensions",),
    (_ADMISSION, "validatingwebhookconfigurations"): ("api-extensions",),
}

# (group, plural) -> subresource -> (verbs, kind of its options)
_STREAM = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")
CONNECT: Final[dict[Key, dict[str, tuple[tuple[str, ...], str]]]] = {
    ("", "pods"): {
        "attach": (_STREAM, "PodAttachOptions"),
        "exec": (_STREAM, "PodExecOptions"),
        "portforward": (_STREAM, "PodPortForwardOptions"),
        "proxy": (_PROXY, "PodProxyOptions"),
    },
    ("", "nodes"): {"proxy": (_PROXY, "NodeProxyOptions")},
    ("", "services"): {"proxy": (_PROXY, "ServiceProxyOptions")},
}

# verbs that the packages give and a server does not
WITHOUT_VERBS: Final[dict[Key, frozenset[str]]] = {("", "componentstatuses"): frozenset({"watch"})}

# singular names that are not the kind in lower case
SINGULAR: Final[dict[Key, str]] = {}

# /api first, then /apis in this order; a group that is not here comes after them by name
GROUP_ORDER: Final[tuple[str, ...]] = (
    "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling",
    "batch", "certificates.k8s.io", _NET, "policy", _RBAC, _STORAGE, _ADMISSION, "apiextensions.k8s.io",
    "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "flowcontrol.apiserver.k8s.io",
    "resource.k8s.io", "storagemigration.k8s.io",
)  # fmt: skip
