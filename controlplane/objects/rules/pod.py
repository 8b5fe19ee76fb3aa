"""Rules for pods and pod templates."""

from typing import Final

from controlplane.objects.rules import metadata, names
from controlplane.objects.rules.containers import container, resources
from controlplane.objects.rules.pod_update import ephemeral, resize, update
from controlplane.objects.rules.rule import Errors, Object, Rules, at_least, each, join, positive, unique
from controlplane.objects.status import FieldError

_VOLUME_FIELDS: Final = frozenset({"name"})


def _volume(volume: Object, path: str) -> Errors:
    name = volume.get("name") or ""
    errors: Errors = []
    if not name:
        errors.append(FieldError.required(f"{path}.name"))
    else:
        errors += [FieldError.invalid(f"{path}.name", name, words) for words in names.label(name)]
    sources = [source for source in volume if source not in _VOLUME_FIELDS]
    if not sources:
        errors.append(FieldError.required(path, "must specify a volume type"))
    errors += [
        FieldError.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type") for extra in sources[1:]
    ]
    for source, field in (("hostPath", "path"), ("secret", "secretName"), ("configMap", "name")):
        found = volume.get(source)
        if isinstance(found, dict) and not found.get(field):
            errors.append(FieldError.required(f"{path}.{source}.{field}"))
    claim = volume.get("persistentVolumeClaim")
    if isinstance(claim, dict) and not claim.get("claimName"):
        errors.append(FieldError.required(f"{path}.persistentVolumeClaim.claimName"))
    return errors


def _volumes(spec: Object, path: str) -> Errors:
    volumes = list(each(spec, "volumes", path))
    errors = [error for where, volume in volumes for error in _volume(volume, where)]
    return errors + unique((f"{where}.name", volume.get("name")) for where, volume in volumes)


def _containers(spec: Object, path: str) -> Errors:
    volumes = frozenset(volume.get("name") or "" for volume in spec.get("volumes") or ())
    errors: Errors = []
    if not spec.get("containers"):
        errors.append(FieldError.required(join(path, "containers")))
    named = []
    for kind in ("initContainers", "containers"):
        for where, found in each(spec, kind, path):
            errors += container(found, volumes, where, init=kind == "initContainers")
            named.append((f"{where}.name", found.get("name") or None))
    errors += unique(named)
    return errors + _host_ports(spec, path)


def _host_ports(spec: Object, path: str) -> Errors:
    taken = []
    for where, found in each(spec, "containers", path):
        for at, port in each(found, "ports", where):
            if port.get("hostPort"):
                shown = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
                taken.append((f"{at}.hostPort", shown))
                if spec.get("hostNetwork") and port["hostPort"] != port.get("containerPort"):
                    words = "must match `hostPort` when `hostNetwork` is true"
                    return [FieldError.invalid(f"{at}.containerPort", port.get("containerPort"), words)]
    return unique(taken)


def _tolerations(spec: Object, path: str) -> Errors:
    errors: Errors = []
    for where, found in each(spec, "tolerations", path):
        key, operator = found.get("key") or "", found.get("operator") or "Equal"
        if key:
            errors += [FieldError.invalid(f"{where}.key", key, words) for words in names.qualified(key)]
        elif operator != "Exists":
            words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(FieldError.invalid(f"{where}.operator", found.get("operator") or "", words))
        if operator == "Exists" and found.get("value"):
            words = "value must be empty when `operator` is 'Exists'"
            errors.append(FieldError.invalid(f"{where}.operator", found["value"], words))
        if found.get("tolerationSeconds") is not None and found.get("effect") != "NoExecute":
            words = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(FieldError.invalid(f"{where}.effect", found.get("effect") or "", words))
    return errors


def _affinity(spec: Object, path: str) -> Errors:
    node = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    at = join(path, "affinity.nodeAffinity")
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    errors: Errors = []
    if isinstance(required, dict) and not required.get("nodeSelectorTerms"):
        where = f"{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        errors.append(FieldError.required(where, "must have at least one node selector term"))
    for where, term in each(node, "preferredDuringSchedulingIgnoredDuringExecution", at):
        if not 1 <= (term.get("weight") or 0) <= 100:
            errors.append(FieldError.invalid(f"{where}.weight", term.get("weight") or 0, "must be in the range 1-100"))
    return errors


def _names_of_others(spec: Object, path: str) -> Errors:
    errors: Errors = []
    for field, checker in (("serviceAccountName", names.subdomain), ("nodeName", names.subdomain),
                           ("priorityClassName", names.subdomain), ("runtimeClassName", names.subdomain),
                           ("hostname", names.label), ("subdomain", names.label)):  # fmt: skip
        text = spec.get(field)
        if text:
            errors += [FieldError.invalid(join(path, field), text, words) for words in checker(text)]
    return errors


def pod_spec(spec: Object, path: str) -> Errors:
    """The spec of a pod, or of a template; `path` is where it stands ("spec", "spec.template.spec")."""
    errors = [*_volumes(spec, path), *_containers(spec, path)]
    errors += at_least(spec.get("terminationGracePeriodSeconds"), 0, join(path, "terminationGracePeriodSeconds"))
    errors += positive(spec.get("activeDeadlineSeconds"), join(path, "activeDeadlineSeconds"))
    errors += metadata.labels(spec.get("nodeSelector"), join(path, "nodeSelector"))
    errors += _names_of_others(spec, path)
    errors += _tolerations(spec, path)
    errors += _affinity(spec, path)
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        words = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        errors.append(FieldError.required(join(path, "dnsConfig.nameservers"), words))
    for where, constraint in each(spec, "topologySpreadConstraints", path):
        errors += positive(constraint.get("maxSkew", 0), f"{where}.maxSkew")
    if spec.get("resources"):
        errors += resources(spec["resources"], join(path, "resources"))
    return errors


def pod_template(template: Object, path: str) -> Errors:
    """A PodTemplateSpec."""
    found: Object = template.get("metadata") or {}
    errors = metadata.labels(found.get("labels"), f"{path}.metadata.labels")
    errors += metadata.annotations(found.get("annotations"), f"{path}.metadata.annotations")
    return errors + pod_spec(template.get("spec") or {}, f"{path}.spec")


def _check(pod: Object) -> Errors:
    return pod_spec(pod.get("spec") or {}, "spec")


def _create(pod: Object) -> Errors:
    if (pod.get("spec") or {}).get("ephemeralContainers"):
        return [FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create")]
    return []


RULES: Final = {
    ("", "pods"): Rules(_check, update, {"resize": resize, "ephemeralcontainers": ephemeral}, _create),
    ("", "podtemplates"): Rules(lambda obj: pod_template(obj.get("template") or {}, "template")),
}
