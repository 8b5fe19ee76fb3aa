"""Controls of the baseline level, in the order in which they are told.  Source: Kubernetes' Pod Security Standards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.apiserver.podsecurity.pod import Check, Control, Finding, Pod, containers, quoted, setters, some
from controlplane.objects import status

Object = dict[str, Any]

_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
DEFAULT_CAPABILITIES: Final = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SELINUX_TYPES: Final = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
_SYSCTLS: Final = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
    }
)
_SYSCTLS_1_27: Final = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_1_29: Final = _SYSCTLS_1_27 | {
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SYSCTLS_1_32: Final = _SYSCTLS_1_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}


def app_armor(pod: Pod) -> Finding | None:
    def unconfined(security: Object) -> bool:
        kind = (security.get("appArmorProfile") or {}).get("type")
        return kind is not None and kind not in ("RuntimeDefault", "Localhost")

    bad_pod, names = unconfined(pod.security), pod.names(unconfined)
    found = []
    if bad_pod or names:
        kinds = {each["appArmorProfile"]["type"] for each in _securities(pod) if unconfined(each)}
        found.append(f"{setters(bad_pod, names)} must not set AppArmor profile type to {quoted(sorted(kinds))}")
    for key, value in sorted(pod.annotations.items()):
        if key.startswith(_APPARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/"):
            found.append(f"{key}={status.quote(value)}")
    if not found:
        return None
    return Finding(some("forbidden AppArmor profile", len(found)), ", ".join(found))


def _securities(pod: Pod) -> Iterator[Object]:
    yield pod.security
    for each in pod.containers:
        yield each.get("securityContext") or {}


def capabilities(pod: Pod) -> Finding | None:
    def added(security: Object) -> set[str]:
        return set((security.get("capabilities") or {}).get("add") or ()) - DEFAULT_CAPABILITIES

    names = pod.names(lambda security: bool(added(security)))
    if not names:
        return None
    bad = sorted(set().union(*map(added, _securities(pod))))
    detail = f"{containers(names)} must not include {quoted(bad)} in securityContext.capabilities.add"
    return Finding("non-default capabilities", detail)


def host_namespaces(pod: Pod) -> Finding | None:
    bad = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(name)]
    return Finding("host namespaces", ", ".join(bad)) if bad else None


def host_path_volumes(pod: Pod) -> Finding | None:
    names = [each.get("name", "") for each in pod.spec.get("volumes") or () if each.get("hostPath") is not None]
    return Finding("hostPath volumes", f"{some('volume', len(names))} {quoted(names)}") if names else None


def host_ports(pod: Pod) -> Finding | None:
    names, ports = [], set()
    for each in pod.containers:
        bad = {int(port["hostPort"]) for port in each.get("ports") or () if port.get("hostPort")}
        if bad:
            names.append(each.get("name", ""))
            ports |= bad
    if not names:
        return None
    shown = ", ".join(sorted(map(str, ports)))
    words = f"{some('uses', len(names), 'use')} {some('hostPort', len(ports))}"
    return Finding("hostPort", f"{containers(names)} {words} {shown}")


def _hosts(container: Object) -> set[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(name) or {} for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [lifecycle.get(name) or {} for name in ("postStart", "preStop")]
    found = {(each.get(kind) or {}).get("host") for each in handlers for kind in ("httpGet", "tcpSocket")}
    return {host for host in found if host}


def probe_hosts(pod: Pod) -> Finding | None:
    bad = {each.get("name", ""): _hosts(each) for each in pod.containers if _hosts(each)}
    if not bad:
        return None
    hosts = sorted(set().union(*bad.values()))
    words = f"{some('uses', len(bad), 'use')} {some('probe or lifecycle host', len(hosts))}"
    return Finding("probe or lifecycle host", f"{containers(sorted(bad))} {words} {quoted(hosts)}")


def privileged(pod: Pod) -> Finding | None:
    names = pod.names(lambda security: bool(security.get("privileged")))
    if not names:
        return None
    return Finding("privileged", f"{containers(names)} must not set securityContext.privileged=true")


def proc_mount(pod: Pod) -> Finding | None:
    def bad(security: Object) -> bool:
        return security.get("procMount") not in (None, "Default")

    names = pod.names(bad)
    if not names:
        return None
    kinds = sorted({each["procMount"] for each in _securities(pod) if bad(each)})
    return Finding("procMount", f"{containers(names)} must not set securityContext.procMount to {quoted(kinds)}")


def proc_mount_1_35(pod: Pod) -> Finding | None:
    return None if pod.has_own_users else proc_mount(pod)


def _selinux(allowed: frozenset[str]) -> Control:
    def control(pod: Pod) -> Finding | None:
        def bad(security: Object) -> bool:
            found = security.get("seLinuxOptions") or {}
            return found.get("type", "") not in allowed or bool(found.get("user") or found.get("role"))

        bad_pod, names = bad(pod.security), pod.names(bad)
        if not bad_pod and not names:
            return None
        options = [each.get("seLinuxOptions") or {} for each in _securities(pod)]
        types = sorted({each.get("type", "") for each in options} - allowed)
        said = [f"{some('type', len(types))} {quoted(types)}"] if types else []
        said += [f"{name} may not be set" for name in ("user", "role") if any(each.get(name) for each in options)]
        who = setters(bad_pod, names)
        return Finding("seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}")

    return control


def seccomp_annotations(pod: Pod) -> Finding | None:
    """Before 1.19 profiles stood in annotations."""
    names = {f"{_SECCOMP_CONTAINER}{each.get('name', '')}" for each in pod.containers} | {_SECCOMP_POD}
    bad = [
        f"{key}={status.quote(value)}"
        for key, value in sorted(pod.annotations.items())
        if key in names
        and value not in ("", "runtime/default", "docker/default")
        and not value.startswith("localhost/")
    ]
    return Finding("seccompProfile", f"forbidden {some('annotation', len(bad))} {', '.join(bad)}") if bad else None


def seccomp(pod: Pod) -> Finding | None:
    def bad(security: Object) -> bool:
        kind = (security.get("seccompProfile") or {}).get("type")
        return kind is not None and kind not in ("RuntimeDefault", "Localhost")

    bad_pod, names = bad(pod.security), pod.names(bad)
    if not bad_pod and not names:
        return None
    kinds = sorted({each["seccompProfile"]["type"] for each in _securities(pod) if bad(each)})
    detail = f"{setters(bad_pod, names)} must not set securityContext.seccompProfile.type to {quoted(kinds)}"
    return Finding("seccompProfile", detail)


def _sysctls(allowed: frozenset[str]) -> Control:
    def control(pod: Pod) -> Finding | None:
        found = [each.get("name", "") for each in pod.security.get("sysctls") or ()]
        bad = [name for name in found if name not in allowed]
        return Finding("forbidden sysctls", ", ".join(bad)) if bad else None

    return control


def host_process(pod: Pod) -> Finding | None:
    def bad(security: Object) -> bool:
        return bool((security.get("windowsOptions") or {}).get("hostProcess"))

    bad_pod, names = bad(pod.security), pod.names(bad)
    if not bad_pod and not names:
        return None
    detail = f"{setters(bad_pod, names)} must not set securityContext.windowsOptions.hostProcess=true"
    return Finding("hostProcess", detail)


CHECKS: Final = (
    Check("appArmorProfile", ((0, app_armor),)),
    Check("capabilities_baseline", ((0, capabilities),)),
    Check("hostNamespaces", ((0, host_namespaces),)),
    Check("hostPathVolumes", ((0, host_path_volumes),)),
    Check("hostPorts", ((0, host_ports),)),
    Check("hostProbesAndHostLifecycle", ((34, probe_hosts),)),
    Check("privileged", ((0, privileged),)),
    Check("procMount", ((0, proc_mount), (35, proc_mount_1_35))),
    Check("seLinuxOptions", ((0, _selinux(_SELINUX_TYPES)), (31, _selinux(_SELINUX_TYPES | {"container_engine_t"})))),
    Check("seccompProfile_baseline", ((0, seccomp_annotations), (19, seccomp))),
    Check(
        "sysctls",
        (
            (0, _sysctls(_SYSCTLS)),
            (27, _sysctls(_SYSCTLS_1_27)),
            (29, _sysctls(_SYSCTLS_1_29)),
            (32, _sysctls(_SYSCTLS_1_32)),
        ),
    ),
    Check("windowsHostProcess", ((0, host_process),)),
)
