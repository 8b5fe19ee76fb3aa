"""The webhooks that a request meets, and the call of one of them with its failure policy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.cel.expressions import ADMISSION_VARIABLES
from controlplane.apiserver.cel.program import CelError, compile_expression
from controlplane.apiserver.crd import conversion
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.webhooks import reviews, selection
from controlplane.apiserver.webhooks.clients import CallFailed
from controlplane.apiserver.webhooks.reviews import BadAnswer, Verdict
from controlplane.objects import status
from controlplane.objects.kinds import NAMESPACES, Resource

if TYPE_CHECKING:
    from controlplane.apiserver.admission.attributes import Attributes

Object = dict[str, Any]

_NEVER: Final = frozenset({"mutatingwebhookconfigurations", "validatingwebhookconfigurations"})
_GROUP: Final = "admissionregistration.k8s.io"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook that is to be asked, in the version that its rules name."""

    raw: Object
    resource: Resource
    configuration: str  # its name

    @property
    def identity(self) -> str:
        """Its name among the webhooks of all configurations."""
        return f"{self.configuration}/{self.name}"

    @property
    def name(self) -> str:
        return str(self.raw.get("name") or "")

    @property
    def ignores_failures(self) -> bool:
        return self.raw.get("failurePolicy") == "Ignore"

    @property
    def timeout_seconds(self) -> float:
        return float(self.raw.get("timeoutSeconds") or 10)


def _in_versions(told: Attributes, raw: Object) -> Resource | None:
    """The resource as the webhook's rules name it: as asked for, or with matchPolicy Equivalent in another version."""
    rules = raw.get("rules") or ()
    if selection.matches(rules, told.operation, told.resource, told.subresource):
        return told.resource
    if raw.get("matchPolicy", "Equivalent") != "Equivalent" or not isinstance(told.resource, CustomResource):
        return None
    definition = told.resource.definition
    for version in definition.versions:
        other = definition.resource(version)
        if version.served and selection.matches(rules, told.operation, other, told.subresource):
            return other
    return None


async def namespace_labels(told: Attributes) -> dict[str, str] | None:
    """The labels that a namespaceSelector looks at; None for objects of the cluster, which it never excludes."""
    if told.is_group_resource(NAMESPACES):
        metadata = (told.object or told.old).get("metadata") or {}
        return {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": told.name}
    if not told.resource.namespaced:
        return None
    cache = await told.services.caches.ready(NAMESPACES)
    entry = cache.get(f"/registry/namespaces/{told.namespace}".encode())
    labels = entry.labels() if entry is not None else {}
    return {**labels, "kubernetes.io/metadata.name": told.namespace}


async def namespace_annotations(told: Attributes) -> dict[str, str]:
    """The annotations of the namespace that an object stands in."""
    cache = await told.services.caches.ready(NAMESPACES)
    entry = cache.get(f"/registry/namespaces/{told.namespace}".encode())
    found: dict[str, str] = (entry.object()["metadata"].get("annotations") or {}) if entry is not None else {}
    return found


async def configured(told: Attributes, configurations: Resource) -> list[Hook]:
    """The webhooks to ask about an operation, in the order in which they are asked."""
    if told.resource.group == _GROUP and told.resource.plural in _NEVER:
        return []
    cache = await told.services.caches.ready(configurations)
    if not len(cache):
        return []
    labels: dict[str, str] | None = None
    found: list[Hook] = []
    for configuration, raw in _webhooks(entry.object() for entry in cache.entries()):
        resource = _in_versions(told, raw)
        if resource is None or not selection.object_selects(raw.get("objectSelector"), told.object, told.old):
            continue
        if raw.get("namespaceSelector"):
            labels = labels if labels is not None else await namespace_labels(told)
            if labels is not None and not selection.selects(raw["namespaceSelector"], labels):
                continue
        found.append(Hook(raw, resource, configuration))
    return found


def _webhooks(configurations: Iterator[Object]) -> Iterator[tuple[str, Object]]:
    for configuration in configurations:
        for webhook in configuration.get("webhooks") or ():
            yield configuration["metadata"]["name"], webhook


async def _objects(told: Attributes, hook: Hook, obj: Object) -> tuple[Object, Object]:
    """(object, old object) in the webhook's version."""
    if hook.resource is told.resource or not isinstance(hook.resource, CustomResource):
        return obj, told.old
    version, definition = hook.resource.group_version, hook.resource.definition
    given = [each for each in (obj, told.old) if each]
    shown = await conversion.convert(told.services, definition, given, version)
    rest = iter(shown)
    return (next(rest) if obj else {}), (next(rest) if told.old else {})


def _conditions_hold(hook: Hook, asked: Object) -> bool:
    """matchConditions; raises CelError when one cannot be evaluated and none is false."""
    failure: CelError | None = None
    values = {"object": asked["object"], "oldObject": asked["oldObject"], "request": asked}
    values |= {"namespaceObject": None, "params": None, "variables": {}}
    for condition in hook.raw.get("matchConditions") or ():
        try:
            if compile_expression(condition["expression"], ADMISSION_VARIABLES)(values) is not True:
                return False
        except CelError as error:
            failure = CelError(f"{condition.get('name', '')}: {error}")
    if failure is not None:
        raise failure
    return True


async def ask(told: Attributes, hook: Hook, obj: Object) -> tuple[Verdict | None, Object]:
    """(verdict, the object as it was shown); no verdict when it need not be asked or its failure is ignored. Raises 400
    and 500."""
    shown, old = await _objects(told, hook, obj)
    asked = reviews.request(told.services.environment.uid(), told, hook.resource, shown, old)
    try:
        if not _conditions_hold(hook, asked):
            return None, shown
        if told.dry_run and hook.raw.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise status.bad_request(f'admission webhook "{hook.name}" does not support dry run')
        client = hook.raw.get("clientConfig") or {}
        document = await told.services.webhooks.call(told.services, client, reviews.review(asked), hook.timeout_seconds)
        found = reviews.verdict(asked["uid"], document)
    except (CallFailed, BadAnswer, CelError) as error:
        if hook.ignores_failures:
            logger.warning("webhook %s failed, which its policy ignores: %s", hook.name, error)
            return None, shown
        raise status.internal_error(f'failed calling webhook "{hook.name}": {error}') from None
    for text in found.warnings:
        told.warnings.append(text)
    if not found.allowed:
        raise reviews.denial(hook.name, found)
    return found, shown
