"""Controls of the restricted level, on top of those of the baseline.  Source: Kubernetes' Pod Security Standards."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.podsecurity.baseline import proc_mount
from controlplane.apiserver.podsecurity.pod import Check, Control, Finding, Pod, containers, quoted, setters, some

Object = dict[str, Any]

VOLUMES: Final = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)


def _not_for_windows(control: Control) -> Control:
    """From 1.25 on pods that say they are for Windows need not set what Windows does not have."""
    return lambda pod: None if pod.is_windows else control(pod)


def _not_for_own_users(control: Control) -> Control:
    """From 1.35 on root may be root in its own user namespace."""
    return lambda pod: None if pod.has_own_users else control(pod)


def privilege_escalation(pod: Pod) -> Finding | None:
    names = pod.names(lambda security: security.get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    detail = f"{containers(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail)


def capabilities(pod: Pod) -> Finding | None:
    def added(security: Object) -> set[str]:
        return set((security.get("capabilities") or {}).get("add") or ()) - {"NET_BIND_SERVICE"}

    keeping = pod.names(lambda security: "ALL" not in ((security.get("capabilities") or {}).get("drop") or ()))
    adding = pod.names(lambda security: bool(added(security)))
    said = []
    if keeping:
        said.append(f'{containers(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        bad = sorted(set().union(*(added(each.get("securityContext") or {}) for each in pod.containers)))
        said.append(f"{containers(adding)} must not include {quoted(bad)} in securityContext.capabilities.add")
    return Finding("unrestricted capabilities", "; ".join(said)) if said else None


def volumes(pod: Pod) -> Finding | None:
    bad: dict[str, str] = {}
    for each in pod.spec.get("volumes") or ():
        kinds = [name for name in each if name != "name"]
        if not VOLUMES.intersection(kinds):
            bad[each.get("name", "")] = kinds[0] if kinds else "unknown"
    if not bad:
        return None
    types = sorted(set(bad.values()))
    words = f"{some('uses', len(bad), 'use')} {some('restricted volume type', len(types))}"
    return Finding("restricted volume types", f"{some('volume', len(bad))} {quoted(bad)} {words} {quoted(types)}")


def run_as_non_root(pod: Pod) -> Finding | None:
    root_pod = pod.security.get("runAsNonRoot") is False
    root = pod.names(lambda security: security.get("runAsNonRoot") is False)
    if root_pod or root:
        detail = f"{setters(root_pod, root)} must not set securityContext.runAsNonRoot=false"
        return Finding("runAsNonRoot != true", detail)
    silent = pod.names(lambda security: security.get("runAsNonRoot") is None)
    if pod.security.get("runAsNonRoot") or not silent:
        return None
    return Finding("runAsNonRoot != true", f"pod or {containers(silent)} must set securityContext.runAsNonRoot=true")


def run_as_user(pod: Pod) -> Finding | None:
    def bad(security: Object) -> bool:
        return security.get("runAsUser") == 0

    bad_pod, names = bad(pod.security), pod.names(bad)
    if not bad_pod and not names:
        return None
    return Finding("runAsUser=0", f"{setters(bad_pod, names)} must not set runAsUser=0")


def seccomp(pod: Pod) -> Finding | None:
    def kind(security: Object) -> str | None:
        found: str | None = (security.get("seccompProfile") or {}).get("type")
        return found

    def bad(security: Object) -> bool:
        return kind(security) not in (None, "RuntimeDefault", "Localhost")

    bad_pod, names = bad(pod.security), pod.names(bad)
    if bad_pod or names:
        kinds = {kind(each.get("securityContext") or {}) for each in pod.containers} | {kind(pod.security)}
        shown = quoted(sorted(each for each in kinds if each not in (None, "RuntimeDefault", "Localhost") and each))
        detail = f"{setters(bad_pod, names)} must not set securityContext.seccompProfile.type to {shown}"
        return Finding("seccompProfile", detail)
    silent = pod.names(lambda security: kind(security) is None)
    if kind(pod.security) is not None or not silent:
        return None
    wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", f"pod or {containers(silent)} {wanted}")


CHECKS: Final = (
    Check("allowPrivilegeEscalation", ((8, privilege_escalation), (25, _not_for_windows(privilege_escalation)))),
    Check(
        "capabilities_restricted",
        ((22, capabilities), (25, _not_for_windows(capabilities))),
        ("capabilities_baseline",),
    ),
    Check("procMount_restricted", ((35, proc_mount),), ("procMount",)),
    Check("restrictedVolumes", ((0, volumes),), ("hostPathVolumes",)),
    Check("runAsNonRoot", ((0, run_as_non_root), (35, _not_for_own_users(run_as_non_root)))),
    Check("runAsUser", ((23, run_as_user), (35, _not_for_own_users(run_as_user)))),
    Check(
        "seccompProfile_restricted",
        ((19, seccomp), (25, _not_for_windows(seccomp))),
        ("seccompProfile_baseline",),
    ),
)
