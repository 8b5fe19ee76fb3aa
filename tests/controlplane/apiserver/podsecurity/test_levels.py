"""The Pod Security Standards, control by control, against the tables of their document."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.podsecurity.labels import PREFIX, Policies, errors, policies
from controlplane.apiserver.podsecurity.levels import LATEST, Policy, findings, parse_version, told
from controlplane.apiserver.podsecurity.pod import Pod

Object = dict[str, Any]

HARDENED: Object = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "image": "x",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}


def spec_with(change: Object, *, container: bool = False, base: Object = HARDENED) -> Object:
    """The hardened spec with a change merged into it, or into its container."""
    spec = copy.deepcopy(base)
    _merge(spec["containers"][0] if container else spec, change)
    return spec


def _merge(into: Object, change: Object) -> None:
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def broken(level: str, spec: Object, minor: int = LATEST, annotations: dict[str, str] | None = None) -> str:
    return told(findings(Policy(level, minor), Pod.of({"annotations": annotations or {}}, spec)))


# (what is changed in the hardened pod, in its container?, level that refuses first, the words)
TABLE: tuple[tuple[Object, bool, str, str], ...] = (
    ({"hostNetwork": True, "hostPID": True}, False, "baseline", "host namespaces (hostNetwork=true, hostPID=true)"),
    ({"hostIPC": True}, False, "baseline", "host namespaces (hostIPC=true)"),
    (
        {"securityContext": {"privileged": True}},
        True,
        "baseline",
        'privileged (container "c" must not set securityContext.privileged=true)',
    ),
    (
        {"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 443}]},
        True,
        "baseline",
        'hostPort (container "c" uses hostPorts 443, 80)',
    ),
    (
        {"livenessProbe": {"httpGet": {"host": "127.0.0.1"}}},
        True,
        "baseline",
        'probe or lifecycle host (container "c" uses probe or lifecycle host "127.0.0.1")',
    ),
    (
        {"lifecycle": {"preStop": {"tcpSocket": {"host": "a"}}}},
        True,
        "baseline",
        'probe or lifecycle host (container "c" uses probe or lifecycle host "a")',
    ),
    (
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        False,
        "baseline",
        'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ),
    (
        {"securityContext": {"seLinuxOptions": {"type": "foo", "user": "u"}}},
        True,
        "baseline",
        'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "foo"; user may not be set)',
    ),
    (
        {"securityContext": {"procMount": "Unmasked"}},
        True,
        "baseline",
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        False,
        "baseline",
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        {"securityContext": {"windowsOptions": {"hostProcess": True}}},
        False,
        "baseline",
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        False,
        "baseline",
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        {"securityContext": {"allowPrivilegeEscalation": True}},
        True,
        "restricted",
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
    ),
    (
        {"volumes": [{"name": "v", "nfs": {}}, {"name": "w", "emptyDir": {}}]},
        False,
        "restricted",
        'restricted volume types (volume "v" uses restricted volume type "nfs")',
    ),
    (
        {"securityContext": {"runAsUser": 0}},
        True,
        "restricted",
        'runAsUser=0 (container "c" must not set runAsUser=0)',
    ),
    (
        {"securityContext": {"runAsNonRoot": False}},
        False,
        "restricted",
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
    ),
)


@pytest.mark.parametrize(("change", "container", "level", "words"), TABLE)
def test_each_forbidden_value_is_found_at_its_level_and_above(
    change: Object, container: bool, level: str, words: str
) -> None:
    spec = spec_with(change, container=container)
    assert broken("privileged", spec) == ""
    assert broken("baseline", spec) == (words if level == "baseline" else "")
    assert broken("restricted", spec) == words


def test_a_hardened_pod_breaks_nothing_and_a_plain_one_what_kubernetes_says() -> None:
    assert broken("restricted", HARDENED) == ""
    plain = {"containers": [{"name": "c", "image": "x"}]}
    assert broken("baseline", plain) == ""
    assert broken("restricted", plain) == (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")'
    )


def test_a_stricter_control_stands_in_for_the_one_that_it_includes() -> None:
    spec = spec_with({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})
    assert broken("baseline", spec) == 'hostPath volumes (volume "v")'
    assert broken("restricted", spec) == 'restricted volume types (volume "v" uses restricted volume type "hostPath")'
    spec = spec_with({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, container=True)
    assert broken("baseline", spec).startswith('non-default capabilities (container "c" must not include "NET_ADMIN"')
    assert broken("restricted", spec) == (
        'unrestricted capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)'
    )


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("net.ipv4.tcp_syncookies", 0),
        ("net.ipv4.ip_local_reserved_ports", 27),
        ("net.ipv4.tcp_keepalive_time", 29),
        ("net.ipv4.tcp_rmem", 32),
    ],
)
def test_a_kernel_parameter_is_safe_from_its_version_on(name: str, since: int) -> None:
    spec = spec_with({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}})
    for minor in (0, 26, 27, 28, 29, 31, 32, LATEST):
        assert (broken("baseline", spec, minor) == "") == (minor >= since)


def test_controls_began_in_their_versions() -> None:
    probes = spec_with({"livenessProbe": {"httpGet": {"host": "a"}}}, container=True)
    assert broken("baseline", probes, 33) == "" and broken("baseline", probes, 34) != ""
    windows = {"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": True}, "containers": [{"name": "c"}]}
    assert broken("restricted", windows) == "" and "seccompProfile" in broken("restricted", windows, 24)
    own_users = spec_with({"hostUsers": False, "securityContext": {"runAsUser": 0}})
    assert broken("restricted", own_users) == "" and "runAsUser=0" in broken("restricted", own_users, 34)


def test_profiles_in_annotations_count() -> None:
    bad = {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}
    assert broken("baseline", HARDENED, annotations=bad) == (
        'forbidden AppArmor profile (container.apparmor.security.beta.kubernetes.io/c="unconfined")'
    )
    good = {"container.apparmor.security.beta.kubernetes.io/c": "localhost/x"}
    assert broken("baseline", HARDENED, annotations=good) == ""


_MAYBE = st.sampled_from((None, True, False))


@given(pod=_MAYBE, containers=st.lists(_MAYBE, min_size=1, max_size=3))
def test_non_root_is_what_the_pod_says_where_the_container_is_silent(pod: Any, containers: list[Any]) -> None:
    """The twin: every container must come out as true, and nobody may say false."""
    spec: Object = copy.deepcopy(HARDENED)
    spec["securityContext"]["runAsNonRoot"] = pod
    template = spec["containers"][0]
    spec["containers"] = [
        {**template, "name": f"c{at}", "securityContext": {**template["securityContext"], "runAsNonRoot": value}}
        for at, value in enumerate(containers)
    ]
    passes = pod is not False and all((pod if value is None else value) is True for value in containers)
    assert (broken("restricted", spec) == "") == passes


@given(minor=st.integers(0, 40), level=st.sampled_from(("baseline", "restricted")))
def test_what_passes_restricted_passes_baseline(minor: int, level: str) -> None:
    for change, container, _, _ in TABLE:
        spec = spec_with(change, container=container)
        if broken("restricted", spec, minor) == "":
            assert broken("baseline", spec, minor) == ""


def test_versions_are_latest_or_of_kubernetes_one() -> None:
    assert parse_version("latest") == LATEST and parse_version("v1.28") == 28
    assert [parse_version(each) for each in ("", "1.28", "v2.0", "v1.028", "v1.x")] == [None] * 5


def test_a_namespace_that_mistypes_is_not_less_safe() -> None:
    found = policies({PREFIX + "enforce": "restrictd", PREFIX + "enforce-version": "1.2"}, Policies())
    assert found.enforce == Policy("restricted", LATEST) and found.warn == Policy()
    assert [each.field for each in errors({PREFIX + "warn": "x", PREFIX + "warn-version": "y"})] == [
        "metadata.labels[pod-security.kubernetes.io/warn]",
        "metadata.labels[pod-security.kubernetes.io/warn-version]",
    ]
