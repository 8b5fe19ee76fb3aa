"""Rules for roles and bindings."""

from typing import Final

from controlplane.objects.rules import metadata
from controlplane.objects.rules.rule import Errors, Object, Rules, each
from controlplane.objects.status import FieldError

GROUP: Final = "rbac.authorization.k8s.io"


def _rule(rule: Object, path: str, *, namespaced: bool) -> Errors:
    errors: Errors = []
    if not rule.get("verbs"):
        errors.append(FieldError.required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            words = "namespaced rules cannot apply to non-resource URLs"
            errors.append(FieldError.invalid(f"{path}.nonResourceURLs", urls, words))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            words = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(FieldError.invalid(f"{path}.nonResourceURLs", urls, words))
        return errors
    if not rule.get("apiGroups"):
        errors.append(FieldError.required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(FieldError.required(f"{path}.resources", "resource rules must supply at least one resource"))
    return errors


def _role(obj: Object) -> Errors:
    return [error for path, rule in each(obj, "rules", "") for error in _rule(rule, path, namespaced=True)]


def _cluster_role(obj: Object) -> Errors:
    errors = [error for path, rule in each(obj, "rules", "") for error in _rule(rule, path, namespaced=False)]
    for path, selector in each(obj.get("aggregationRule") or {}, "clusterRoleSelectors", "aggregationRule"):
        errors += metadata.selector(selector, path)
    return errors


def _reference(obj: Object, kinds: tuple[str, ...]) -> Errors:
    reference: Object = obj.get("roleRef") or {}
    errors: Errors = []
    if reference.get("apiGroup") != GROUP:
        errors.append(FieldError.not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", (GROUP,)))
    if reference.get("kind") not in kinds:
        errors.append(FieldError.not_supported("roleRef.kind", reference.get("kind") or "", kinds))
    if not reference.get("name"):
        errors.append(FieldError.required("roleRef.name"))
    return errors


def _subjects(obj: Object, *, namespaced: bool) -> Errors:
    errors: Errors = []
    for path, subject in each(obj, "subjects", ""):
        if not subject.get("name"):
            errors.append(FieldError.required(f"{path}.name"))
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace") and not namespaced:
            errors.append(FieldError.required(f"{path}.namespace"))
        if subject.get("kind") in ("User", "Group") and subject.get("apiGroup") != GROUP:
            errors.append(FieldError.not_supported(f"{path}.apiGroup", subject.get("apiGroup") or "", (GROUP,)))
    return errors


def _binding(obj: Object) -> Errors:
    return [*_reference(obj, ("ClusterRole", "Role")), *_subjects(obj, namespaced=True)]


def _cluster_binding(obj: Object) -> Errors:
    return [*_reference(obj, ("ClusterRole",)), *_subjects(obj, namespaced=False)]


def _update(new: Object, old: Object) -> Errors:
    if new.get("roleRef") == old.get("roleRef"):
        return []
    return [FieldError.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")]


RULES: Final = {
    (GROUP, "roles"): Rules(_role),
    (GROUP, "clusterroles"): Rules(_cluster_role),
    (GROUP, "rolebindings"): Rules(_binding, _update),
    (GROUP, "clusterrolebindings"): Rules(_cluster_binding, _update),
}
