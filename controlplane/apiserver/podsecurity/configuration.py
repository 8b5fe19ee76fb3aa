"""PodSecurityConfiguration (pod-security.admission.config.k8s.io/v1): defaults of all namespaces, and who is exempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from controlplane.apiserver.podsecurity.labels import ANYTHING, MODES, Policies
from controlplane.apiserver.podsecurity.levels import LEVELS, PRIVILEGED, Policy, parse_version

API_GROUP: Final = "pod-security.admission.config.k8s.io/"
KIND: Final = "PodSecurityConfiguration"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Defaults, and the users, namespaces and runtime classes that are never looked at."""

    defaults: Policies = ANYTHING
    users: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()


def parse(document: Any) -> Configuration:
    """The configuration of the plugin; raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError("PodSecurity: the configuration is no object")
    if not str(document.get("apiVersion", "")).startswith(API_GROUP) or document.get("kind") != KIND:
        raise ValueError(f"PodSecurity: the configuration must be of {API_GROUP}v1, Kind={KIND}")
    given: Any = document.get("defaults") or {}
    exempt: Any = document.get("exemptions") or {}
    return Configuration(
        Policies(**{mode: _policy(given, mode) for mode in MODES}),
        frozenset(exempt.get("usernames") or ()),
        frozenset(exempt.get("namespaces") or ()),
        frozenset(exempt.get("runtimeClasses") or ()),
    )


def _policy(given: Any, mode: str) -> Policy:
    level, version = given.get(mode) or PRIVILEGED, given.get(f"{mode}-version") or "latest"
    minor = parse_version(version)
    if level not in LEVELS:
        raise ValueError(f'PodSecurity: defaults.{mode}: Invalid value: "{level}": must be one of {", ".join(LEVELS)}')
    if minor is None:
        raise ValueError(
            f'PodSecurity: defaults.{mode}-version: Invalid value: "{version}": must be "latest" or "v1.x"'
        )
    return Policy(level, minor)
