"""PURE: bootstrap roles and bindings of a cluster that an older version made, brought up to date at the start.

As in Kubernetes, a role gains the rules that it lacks and a binding the subjects, unless their annotation says `autoupdate` is
off; what an administrator added stays. What this program once gave away and no longer does is taken back.
"""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Resource

AUTOUPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"

# Nodes had these before the Node authorizer decided for them.
WITHDRAWN: Final[tuple[tuple[Resource, str], ...]] = (
    (CLUSTER_ROLE_BINDINGS, "pilothouse:node"),
    (CLUSTER_ROLES, "pilothouse:node"),
)
_ALL_NODES: Final = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}
_WITHDRAWN_SUBJECTS: Final = {"system:node": _ALL_NODES}


def is_ours(stored: Object) -> bool:
    """Whether this program may still change the object."""
    annotations: dict[str, Any] = stored["metadata"].get("annotations") or {}
    return annotations.get(AUTOUPDATE) == "true"


def reconciled(stored: Object, wanted: Object) -> Object | None:
    """The stored role or binding with what it lacks; None when nothing is to be done."""
    if not is_ours(stored):
        return None
    field = "subjects" if "roleRef" in wanted else "rules"
    before: list[Object] = stored.get(field) or []
    taken = _WITHDRAWN_SUBJECTS.get(wanted["metadata"]["name"]) if field == "subjects" else None
    after = [each for each in before if each != taken]
    after += [each for each in wanted.get(field) or [] if each not in after]
    if after == before or "aggregationRule" in wanted:
        return None
    return {**stored, field: after}
