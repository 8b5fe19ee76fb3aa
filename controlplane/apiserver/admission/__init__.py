"""Admission: plugins that change an object and plugins that refuse it, one a file, in Kubernetes' order.

A plugin is a module with `NAME` and one or both of
    async def mutate(attributes: Attributes) -> Object      the object, changed or not
    async def validate(attributes: Attributes) -> None      raises ApiError
Adding one is a file and a line below.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from controlplane.apiserver.admission import (
    certificate_requests,
    default_tolerations,
    escalation,
    limit_ranger,
    namespace_lifecycle,
    node_restriction,
    priority,
    resource_quota,
    service_account,
)
from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.policies import validating as policies
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.webhooks import mutating, validating

PLUGINS: Final[tuple[Any, ...]] = (
    namespace_lifecycle,
    limit_ranger,
    service_account,
    priority,
    default_tolerations,
    certificate_requests,
    escalation,
    node_restriction,
    mutating,
    policies,
    validating,
    resource_quota,
)
_MUTATORS: Final = tuple(plugin.mutate for plugin in PLUGINS if hasattr(plugin, "mutate"))
_VALIDATORS: Final = tuple(plugin.validate for plugin in PLUGINS if hasattr(plugin, "validate"))


async def mutate(attributes: Attributes) -> Object:
    """The object after all mutating plugins."""
    for plugin in _MUTATORS:
        obj = await plugin(attributes)
        if obj is not attributes.object:
            attributes = replace(attributes, object=obj)
    return attributes.object


async def validate(attributes: Attributes) -> None:
    """Ask all validating plugins; the first refusal is raised."""
    for plugin in _VALIDATORS:
        await plugin(attributes)
