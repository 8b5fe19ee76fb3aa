"""Admission: plugins that change an object and plugins that refuse it, one a file, in Kubernetes' order.

A plugin is a module with `NAME` and one or both of
    async def mutate(attributes: Attributes) -> Object      the object, changed or not
    async def validate(attributes: Attributes) -> None      raises ApiError
It may say
    RESOURCES      the (group, plural) that it looks at; all when absent
    IS_OPTIONAL    True: off unless `--enable-admission-plugins` names it
    IS_OF_ALL      True: it is also asked about CONNECT, and about what is created below a pod (Binding, Eviction)
    IS_INTERNAL    True: no plugin of Kubernetes but a part of its storage; it cannot be switched off
    configured     its settings from its part of `--admission-control-config-file`
Adding one is a file and a line below.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from controlplane.apiserver.admission import (
    always_pull,
    anti_affinity_topology,
    certificate_approval,
    certificate_requests,
    certificate_signing,
    certificate_subject,
    claim_resize,
    default_ingress_class,
    default_storage_class,
    default_tolerations,
    escalation,
    extended_resource_toleration,
    external_addresses,
    limit_ranger,
    namespace_lifecycle,
    node_restriction,
    owner_references,
    pod_node_selector,
    pod_security,
    pod_toleration_restriction,
    pod_topology_labels,
    priority,
    resource_quota,
    runtime_class,
    service_account,
    storage_in_use,
    taint_nodes,
    trust_bundle_attest,
)
from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.policies import mutating as mutating_policies
from controlplane.apiserver.policies import validating as policies
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.webhooks import mutating, validating

PLUGINS: Final[tuple[Any, ...]] = (
    always_pull,
    namespace_lifecycle,
    limit_ranger,
    service_account,
    taint_nodes,
    pod_node_selector,
    pod_security,
    priority,
    default_tolerations,
    pod_toleration_restriction,
    extended_resource_toleration,
    default_storage_class,
    storage_in_use,
    claim_resize,
    runtime_class,
    certificate_requests,
    certificate_approval,
    certificate_signing,
    trust_bundle_attest,
    certificate_subject,
    default_ingress_class,
    external_addresses,
    pod_topology_labels,
    anti_affinity_topology,
    owner_references,
    escalation,
    node_restriction,
    mutating_policies,
    mutating,
    policies,
    validating,
    resource_quota,
)

Mutator = Callable[[Attributes], Awaitable[Object]]
Validator = Callable[[Attributes], Awaitable[None]]
Chosen = tuple[tuple[str, ...], tuple[str, ...]]  # names that are switched on and off


def check(chosen: Chosen) -> None:
    """Raise ValueError for a name that no plugin has, or that is switched on and off."""
    known = {plugin.NAME for plugin in PLUGINS if not getattr(plugin, "IS_INTERNAL", False)}
    for flag, names in zip(("enable", "disable"), chosen):
        for name in names:
            if name not in known:
                raise ValueError(f'{flag}-admission-plugins plugin "{name}" is unknown')
    both = sorted(set(chosen[0]) & set(chosen[1]))
    if both:
        raise ValueError(f"{both} in enable-admission-plugins and disable-admission-plugins overlapped")


def _is_on(plugin: Any, chosen: Chosen) -> bool:
    if getattr(plugin, "IS_INTERNAL", False):
        return True
    if plugin.NAME in chosen[0]:
        return True
    return plugin.NAME not in chosen[1] and not getattr(plugin, "IS_OPTIONAL", False)


@lru_cache(maxsize=1024)
def chain(chosen: Chosen, group: str, plural: str) -> tuple[tuple[Mutator, ...], tuple[Validator, ...]]:
    """What a resource's operations go through: (those that change, those that refuse)."""
    asked = [
        plugin
        for plugin in PLUGINS
        if _is_on(plugin, chosen) and (group, plural) in getattr(plugin, "RESOURCES", ((group, plural),))
    ]
    return (
        tuple(plugin.mutate for plugin in asked if hasattr(plugin, "mutate")),
        tuple(plugin.validate for plugin in asked if hasattr(plugin, "validate")),
    )


@lru_cache(maxsize=16)
def _of_all(chosen: Chosen) -> tuple[tuple[Mutator, ...], tuple[Validator, ...]]:
    asked = [plugin for plugin in PLUGINS if getattr(plugin, "IS_OF_ALL", False) and _is_on(plugin, chosen)]
    return (
        tuple(plugin.mutate for plugin in asked if hasattr(plugin, "mutate")),
        tuple(plugin.validate for plugin in asked if hasattr(plugin, "validate")),
    )


def settings(documents: dict[str, Any]) -> dict[str, Any]:
    """The settings of the plugins that are configured, by name; raises ValueError."""
    able = {plugin.NAME: plugin.configured for plugin in PLUGINS if hasattr(plugin, "configured")}
    for name in documents:
        if name not in able:
            raise ValueError(f'admission plugin "{name}" takes no configuration')
    return {name: able[name](document) for name, document in documents.items()}


def _of(attributes: Attributes) -> tuple[tuple[Mutator, ...], tuple[Validator, ...]]:
    resource = attributes.resource
    return chain(attributes.services.config.admission_plugins, resource.group, resource.plural)


async def _changed(attributes: Attributes, mutators: Iterable[Mutator]) -> Object:
    for plugin in mutators:
        obj = await plugin(attributes)
        if obj is not attributes.object:
            attributes = replace(attributes, object=obj)
    return attributes.object


async def _mutated(attributes: Attributes, mutators: Sequence[Mutator]) -> Object:
    obj = await _changed(attributes, mutators)
    if attributes.reinvocation.is_needed:
        attributes.reinvocation.is_second = True
        obj = await _changed(replace(attributes, object=obj), mutators)
    return obj


async def mutate(attributes: Attributes) -> Object:
    """The object after all mutating plugins; they have a second turn when a webhook or policy changed it."""
    return await _mutated(attributes, _of(attributes)[0])


async def mutate_by_all(attributes: Attributes) -> Object:
    """The object after the mutating plugins that are asked about everything (see IS_OF_ALL)."""
    return await _mutated(attributes, _of_all(attributes.services.config.admission_plugins)[0])


async def consult(attributes: Attributes) -> Object:
    """Ask those who are asked about everything whether this may be; the object as they leave it."""
    obj = await mutate_by_all(attributes)
    for plugin in _of_all(attributes.services.config.admission_plugins)[1]:
        await plugin(replace(attributes, object=obj))
    return obj


async def validate(attributes: Attributes) -> None:
    """Ask all validating plugins; the first refusal is raised."""
    for plugin in _of(attributes)[1]:
        await plugin(attributes)
