"""PodNodeSelector (off by default): pods run on the nodes that their namespace's annotation selects.

The plugin's configuration names the nodes of namespaces without the annotation (`clusterDefaultNodeSelector`), and what the
pods of a namespace may select (its name as the key):
    podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: "env=lab", team-a: "env=lab,disk=ssd"}
"""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.webhooks.hooks import namespace_annotations
from controlplane.objects import status
from controlplane.objects.kinds import PODS

NAME: Final = "PodNodeSelector"
RESOURCES: Final = frozenset({("", "pods")})
IS_OPTIONAL: Final = True
_ANNOTATION: Final = "scheduler.alpha.kubernetes.io/node-selector"
_DEFAULT: Final = "clusterDefaultNodeSelector"


def _parsed(text: str) -> dict[str, str]:
    """`a=b,c=d`; raises ValueError."""
    found = {}
    for part in text.split(","):
        if part.strip():
            name, equals, value = part.strip().partition("=")
            if not equals:
                raise ValueError(f"invalid selector: {text!r}")
            found[name.strip()] = value.strip()
    return found


def configured(document: Any) -> dict[str, dict[str, str]]:
    """The selectors by namespace; raises ValueError."""
    settings = document.get("podNodeSelectorPluginConfig") if isinstance(document, dict) else None
    if not isinstance(settings, dict):
        raise ValueError(f"{NAME}: the configuration has no podNodeSelectorPluginConfig")
    return {str(name): _parsed(str(text or "")) for name, text in settings.items()}


async def _of_namespace(attributes: Attributes) -> dict[str, str]:
    annotations = await namespace_annotations(attributes)
    if _ANNOTATION in annotations:
        try:
            return _parsed(annotations[_ANNOTATION])
        except ValueError as error:
            raise status.internal_error(str(error)) from None
    settings = attributes.services.admission_settings.get(NAME) or {}
    return settings.get(_DEFAULT) or {}


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_creation_of_pod():
        return obj
    wanted = await _of_namespace(attributes)
    spec: dict[str, Any] = obj.get("spec") or {}
    given: dict[str, str] = spec.get("nodeSelector") or {}
    if any(name in given and given[name] != value for name, value in wanted.items()):
        why = "pod node label selector conflicts with its namespace node label selector"
        raise status.forbidden(PODS, attributes.name, why)
    return {**obj, "spec": {**spec, "nodeSelector": {**given, **wanted}}} if wanted else obj


async def validate(attributes: Attributes) -> None:
    if not attributes.is_creation_of_pod():
        return
    allowed = (attributes.services.admission_settings.get(NAME) or {}).get(attributes.namespace)
    if allowed is None:
        return
    given: dict[str, str] = (attributes.object.get("spec") or {}).get("nodeSelector") or {}
    if any(name in allowed and allowed[name] != value for name, value in given.items()):
        why = "pod node label selector labels conflict with its namespace whitelist"
        raise status.forbidden(PODS, attributes.name, why)
