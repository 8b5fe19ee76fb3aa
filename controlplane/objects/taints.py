"""Taints and tolerations, node selector terms, and which nodes a pod may run on.

A taint is {"key", "value", "effect"}; effects are NoSchedule, PreferNoSchedule, NoExecute. Node selector terms match a
node's labels (matchExpressions) and its name (matchFields: metadata.name).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from controlplane.objects.meta import get_in, labels_of, name_of

Object = dict[str, Any]

NO_SCHEDULE: Final = "NoSchedule"
PREFER_NO_SCHEDULE: Final = "PreferNoSchedule"
NO_EXECUTE: Final = "NoExecute"
HARD_EFFECTS: Final = frozenset({NO_SCHEDULE, NO_EXECUTE})

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"


def tolerates(toleration: Object, taint: Object) -> bool:
    """An empty effect tolerates all effects; an empty key with operator Exists tolerates all keys."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    key = toleration.get("key") or ""
    operator = toleration.get("operator") or "Equal"
    if key and key != taint.get("key"):
        return False
    if operator == "Exists":
        return True
    ours, theirs = toleration.get("value") or "", taint.get("value") or ""
    if operator in ("Gt", "Lt"):
        return _compares(operator, theirs, ours)
    return operator == "Equal" and bool(key) and ours == theirs


def _compares(operator: str, found: str, limit: str) -> bool:
    try:
        return int(found) > int(limit) if operator == "Gt" else int(found) < int(limit)
    except ValueError:
        return False


def is_tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def first_untolerated(
    taints: Iterable[Object], tolerations: Sequence[Object], effects: frozenset[str] = HARD_EFFECTS
) -> Object | None:
    """The first taint of these effects that nothing tolerates, or None."""
    return next((t for t in taints if t.get("effect") in effects and not is_tolerated(t, tolerations)), None)


def toleration_seconds(taints: Sequence[Object], tolerations: Sequence[Object]) -> float | None:
    """How long a pod may stay under these NoExecute taints: 0 when one is not tolerated, None for ever, else the least
    tolerationSeconds (seconds)."""
    least: float | None = None
    for taint in taints:
        if taint.get("effect") != NO_EXECUTE:
            continue
        using = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not using:
            return 0.0
        for toleration in using:
            seconds = toleration.get("tolerationSeconds")
            if seconds is not None:
                least = max(0.0, float(seconds)) if least is None else min(least, max(0.0, float(seconds)))
    return least


def same_taint(one: Object, other: Object) -> bool:
    """Taints are the same when key and effect are (their values may differ)."""
    return one.get("key") == other.get("key") and one.get("effect") == other.get("effect")


def _requirement_matches(requirement: Object, values: Mapping[str, str]) -> bool:
    value = values.get(requirement.get("key", ""))
    wanted: Sequence[str] = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value is not None and value in wanted
        case "NotIn":
            return value is None or value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return value is not None and len(wanted) == 1 and _compares(operator, value, wanted[0])
        case _:
            return False


def term_matches(term: Object, labels: Mapping[str, str], node_name: str) -> bool:
    """A term without any requirement matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    names = {"metadata.name": node_name}
    return all(_requirement_matches(r, labels) for r in expressions) and all(
        _requirement_matches(r, names) for r in fields
    )


def selector_matches(selector: Object | None, labels: Mapping[str, str], node_name: str) -> bool:
    """A NodeSelector: one of its terms must match; None matches everything."""
    if selector is None:
        return True
    return any(term_matches(term, labels, node_name) for term in selector.get("nodeSelectorTerms") or ())


def pod_fits_node(pod: Object, node: Object) -> bool:
    """spec.nodeSelector and the required node affinity."""
    labels = labels_of(node)
    wanted: Mapping[str, str] = get_in(pod, "spec", "nodeSelector", default={})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    required = get_in(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    return selector_matches(required, labels, name_of(node))


def preferred_score(pod: Object, node: Object) -> int:
    """The sum of the weights of the preferred node affinity terms that match."""
    key = "preferredDuringSchedulingIgnoredDuringExecution"
    terms: Sequence[Object] = get_in(pod, "spec", "affinity", "nodeAffinity", key, default=())
    labels, name = labels_of(node), name_of(node)
    matching = (term for term in terms if term_matches(term.get("preference") or {}, labels, name))
    return sum(int(term.get("weight") or 0) for term in matching)
