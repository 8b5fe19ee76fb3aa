"""PodSecurity: pods keep to the level of the Pod Security Standards that their namespace asks for.

`enforce` refuses pods; `audit` writes into the audit log, `warn` warns the client, both of the templates of workloads too.
A namespace that begins to enforce a stricter policy is warned of the pods that break it already.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.podsecurity.configuration import Configuration, parse
from controlplane.apiserver.podsecurity.labels import PREFIX, Policies, errors, policies
from controlplane.apiserver.podsecurity.levels import LEVELS, Policy, findings, told
from controlplane.apiserver.podsecurity.pod import Pod
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status
from controlplane.objects.kinds import NAMESPACES, PODS

NAME: Final = "PodSecurity"
MOST_PODS: Final = 3000  # that are looked at when a namespace's policy changes
_NOTHING: Final = Configuration()
_TEMPLATES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
RESOURCES: Final = frozenset({("", "pods"), ("", "namespaces"), *_TEMPLATES})
_ANNOTATED_PROFILES: Final = (
    "container.apparmor.security.beta.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
)


def configured(document: Any) -> Configuration:
    """The plugin's part of an AdmissionConfiguration; raises ValueError."""
    return parse(document)


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE"):
        return
    identity = (attributes.resource.group, attributes.resource.plural)
    if identity == ("", "pods"):
        if attributes.subresource in ("", "ephemeralcontainers"):
            await _pod(attributes)
    elif attributes.subresource:
        return
    elif identity == ("", "namespaces"):
        await _namespace(attributes)
    elif identity in _TEMPLATES:
        await _template(attributes, _TEMPLATES[identity])


def _configuration(told_of: Attributes) -> Configuration:
    found: Configuration = told_of.services.admission_settings.get(NAME, _NOTHING)
    return found


async def _policies(told_of: Attributes) -> Policies:
    cache = await told_of.services.caches.ready(NAMESPACES)
    key = layout.key("", NAMESPACES.plural, "", told_of.namespace)
    entry = cache.get(key.encode()) or await told_of.services.store.get(key)
    return policies(entry.labels() if entry is not None else {}, _configuration(told_of).defaults)


def _is_exempt(told_of: Attributes, spec: Object) -> bool:
    configuration, why = _configuration(told_of), ""
    if told_of.namespace in configuration.namespaces:
        why = "namespace"
    elif told_of.user.name in configuration.users:
        why = "user"
    elif spec.get("runtimeClassName") in configuration.runtime_classes:
        why = "runtimeClass"
    if why:
        told_of.annotations[f"{PREFIX}exempt"] = why
    return bool(why)


async def _pod(told_of: Attributes) -> None:
    wanted = await _policies(told_of)
    if not (wanted.enforce.is_strict or wanted.audit.is_strict or wanted.warn.is_strict):
        return
    obj = told_of.object
    spec: Object = obj.get("spec") or {}
    if _is_exempt(told_of, spec) or (told_of.operation == "UPDATE" and not is_significant(obj, told_of.old)):
        return
    pod = Pod.of(obj["metadata"], spec)
    told_of.annotations[f"{PREFIX}enforce-policy"] = str(wanted.enforce)
    found = findings(wanted.enforce, pod)
    _audit(told_of, wanted.audit, pod)
    if found:
        why = f'violates PodSecurity "{wanted.enforce}": {told(found)}'
        raise status.forbidden(PODS, obj["metadata"].get("name", ""), why)
    _warn(told_of, wanted.warn, pod)


def is_significant(new: Object, old: Object) -> bool:
    """Whether an update of a pod changes anything that the standards speak of and that may change: images, containers,
    profiles in annotations."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for field in ("initContainers", "containers", "ephemeralContainers"):
        one = [(each.get("name"), each.get("image")) for each in before.get(field) or ()]
        if one != [(each.get("name"), each.get("image")) for each in after.get(field) or ()]:
            return True
    return _profiles(new) != _profiles(old)


def _profiles(obj: Object) -> dict[str, str]:
    annotations = obj["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if any(part in key for part in _ANNOTATED_PROFILES)}


def _audit(told_of: Attributes, policy: Policy, pod: Pod) -> None:
    found = findings(policy, pod)
    if found:
        told_of.annotations[f"{PREFIX}audit-violations"] = f'would violate PodSecurity "{policy}": {told(found)}'


def _warn(told_of: Attributes, policy: Policy, pod: Pod) -> None:
    found = findings(policy, pod)
    if found:
        told_of.warnings.append(f'would violate PodSecurity "{policy}": {told(found)}')


async def _template(told_of: Attributes, path: tuple[str, ...]) -> None:
    wanted = await _policies(told_of)
    if not (wanted.audit.is_strict or wanted.warn.is_strict):
        return
    template: Any = told_of.object
    for field in path:
        template = (template or {}).get(field)
    if not template:
        return
    spec: Object = template.get("spec") or {}
    if _is_exempt(told_of, spec):
        return
    pod = Pod.of(template.get("metadata") or {}, spec)
    _audit(told_of, wanted.audit, pod)
    _warn(told_of, wanted.warn, pod)


async def _namespace(told_of: Attributes) -> None:
    """New labels must be right; wrong ones that were there already may stay."""
    labels = told_of.object["metadata"].get("labels") or {}
    before = (told_of.old.get("metadata") or {}).get("labels") or {}
    known = errors(before) if told_of.operation == "UPDATE" else []
    wrong = [each for each in errors(labels) if each not in known]
    if wrong:
        raise status.invalid(NAMESPACES, told_of.object["metadata"]["name"], wrong)
    if told_of.operation == "CREATE":
        return
    configuration = _configuration(told_of)
    old, new = policies(before, configuration.defaults).enforce, policies(labels, configuration.defaults).enforce
    stricter = LEVELS.index(new.level) > LEVELS.index(old.level) or new.minor != old.minor
    name = told_of.object["metadata"]["name"]
    if new != old and new.is_strict and stricter and name not in configuration.namespaces:
        told_of.warnings.extend(await _violations(told_of, name, new))


async def _violations(told_of: Attributes, namespace: str, policy: Policy) -> list[str]:
    """Warnings of the pods that break a policy; pods that break it alike share one."""
    cache = await told_of.services.caches.ready(PODS)
    exempt = _configuration(told_of).runtime_classes
    alike: dict[str, list[str]] = {}
    for index, entry in enumerate(cache.entries(layout.scope_prefix("", PODS.plural, namespace).encode())):
        if index >= MOST_PODS:
            break
        obj = entry.object()
        if obj["spec"].get("runtimeClassName") in exempt:
            continue
        found = findings(policy, Pod.of(obj["metadata"], obj["spec"]))
        if found:
            alike.setdefault(", ".join(each.reason for each in found), []).append(obj["metadata"]["name"])
    if not alike:
        return []
    head = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{policy}"'
    return [head, *sorted(_alike(alike))]


def _alike(by_reasons: dict[str, list[str]]) -> Iterator[str]:
    for reasons, names in by_reasons.items():
        more = len(names) - 1
        others = f" (and {more} other {'pod' if more == 1 else 'pods'})" if more else ""
        yield f"{min(names)}{others}: {reasons}"
