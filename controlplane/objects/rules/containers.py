"""Rules for the containers of a pod."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from controlplane.objects import quantity
from controlplane.objects.rules import names
from controlplane.objects.rules.rule import Errors, Object, amount, at_least, each, port_number, positive, unique
from controlplane.objects.status import FieldError

_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_LIFECYCLE_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "sleep")
_PROBE_NUMBERS: Final = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_FIELD_PATHS: Final = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip


def _port(value: Any, path: str) -> Errors:
    """A number, or the name of a container's port."""
    if isinstance(value, str):
        return [FieldError.invalid(path, value, words) for words in names.port_name(value)]
    return port_number(value, path)


def _handler(owner: Object, kinds: Iterable[str], path: str) -> Errors:
    said = [kind for kind in kinds if owner.get(kind) is not None]
    if not said:
        return [FieldError.required(path, "must specify a handler type")]
    errors = [FieldError.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in said[1:]]
    for kind in ("httpGet", "tcpSocket", "grpc"):
        action = owner.get(kind)
        if kind in said and isinstance(action, dict):
            errors += _port(action.get("port"), f"{path}.{kind}.port")
    if "exec" in said and not (owner.get("exec") or {}).get("command"):
        errors.append(FieldError.required(f"{path}.exec.command"))
    return errors


def _probe(container: Object, name: str, path: str) -> Errors:
    probe = container.get(name)
    if not isinstance(probe, dict):
        return []
    where = f"{path}.{name}"
    errors = _handler(probe, _HANDLERS, where)
    for number in _PROBE_NUMBERS:
        errors += at_least(probe.get(number), 0, f"{where}.{number}")
    errors += positive(probe.get("terminationGracePeriodSeconds"), f"{where}.terminationGracePeriodSeconds")
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        errors.append(FieldError.invalid(f"{where}.successThreshold", probe["successThreshold"], "must be 1"))
    return errors


def _ports(container: Object, path: str) -> Errors:
    errors: Errors = []
    ports = list(each(container, "ports", path))
    for where, port in ports:
        if port.get("name"):
            errors += [
                FieldError.invalid(f"{where}.name", port["name"], words) for words in names.port_name(port["name"])
            ]
        if not port.get("containerPort"):
            errors.append(FieldError.required(f"{where}.containerPort"))
        else:
            errors += port_number(port["containerPort"], f"{where}.containerPort")
        if port.get("hostPort"):
            errors += port_number(port["hostPort"], f"{where}.hostPort")
    return errors + unique((f"{where}.name", port.get("name") or None) for where, port in ports)


def _environment(container: Object, path: str) -> Errors:
    errors: Errors = []
    for where, variable in each(container, "env", path):
        name = variable.get("name") or ""
        if not name:
            errors.append(FieldError.required(f"{where}.name"))
        else:
            errors += [FieldError.invalid(f"{where}.name", name, words) for words in names.environment_variable(name)]
        source = variable.get("valueFrom")
        if not isinstance(source, dict):
            continue
        at = f"{where}.valueFrom"
        said = [kind for kind in _SOURCES if source.get(kind) is not None]
        if variable.get("value"):
            errors.append(FieldError.invalid(at, "", "may not be specified when `value` is not empty"))
        elif len(said) != 1:
            few = (
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            )
            errors.append(
                FieldError.invalid(at, "", "may not have more than one field specified at a time" if said else few)
            )
        elif said == ["fieldRef"]:
            errors += _field_path(source["fieldRef"].get("fieldPath") or "", f"{at}.fieldRef.fieldPath")
    for where, source in each(container, "envFrom", path):
        if (source.get("configMapRef") is None) == (source.get("secretRef") is None):
            both = source.get("configMapRef") is not None
            words = "may not have more than one field specified at a time" if both else ""
            few = "must specify one of: `configMapRef` or `secretRef`"
            errors.append(FieldError.invalid(where, "", words or few))
    return errors


def _field_path(text: str, path: str) -> Errors:
    if not text or text in _FIELD_PATHS:
        return []
    base, bracket, _ = text.partition("['")
    if bracket and text.endswith("']") and base in ("metadata.labels", "metadata.annotations"):
        return []
    return [FieldError.not_supported(path, text, _FIELD_PATHS)]


def resources(found: Object, path: str) -> Errors:
    """Amounts are not negative, and no request exceeds its limit."""
    errors: Errors = []
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            errors += [FieldError.invalid(f"{path}.{kind}", name, words) for words in names.qualified(name)]
            errors += amount(value, f"{path}.{kind}[{name}]")
    if errors:
        return errors
    for name, value in requests.items():
        limit = limits.get(name)
        if limit is not None and quantity.parse(value).nanos > quantity.parse(limit).nanos:
            words = f"must be less than or equal to {name} limit of {limit}"
            errors.append(FieldError.invalid(f"{path}.requests", value, words))
    return errors


def _mounts(container: Object, volumes: frozenset[str], path: str) -> Errors:
    errors: Errors = []
    mounts = list(each(container, "volumeMounts", path))
    for where, mount in mounts:
        name = mount.get("name") or ""
        if not name:
            errors.append(FieldError.required(f"{where}.name"))
        elif name not in volumes:
            errors.append(FieldError.not_found(f"{where}.name", name))
        if not mount.get("mountPath"):
            errors.append(FieldError.required(f"{where}.mountPath"))
        sub_path = mount.get("subPath") or ""
        if sub_path.startswith("/"):
            errors.append(FieldError.invalid(f"{where}.subPath", sub_path, "must be a relative path"))
        if ".." in sub_path.split("/"):
            errors.append(FieldError.invalid(f"{where}.subPath", sub_path, "must not contain '..'"))
    seen: set[str] = set()
    for where, mount in mounts:
        target = mount.get("mountPath")
        if target and target in seen:
            errors.append(FieldError.invalid(f"{where}.mountPath", target, "must be unique"))
        seen.add(target)
    return errors


_CHECKS: Final[tuple[Callable[[Object, str], Errors], ...]] = (_ports, _environment)


def container(found: Object, volumes: frozenset[str], path: str, *, init: bool = False) -> Errors:
    """One container; `volumes` are the names of the pod's volumes."""
    errors: Errors = []
    name, image = found.get("name") or "", found.get("image") or ""
    if not name:
        errors.append(FieldError.required(f"{path}.name"))
    else:
        errors += [FieldError.invalid(f"{path}.name", name, words) for words in names.label(name)]
    if not image:
        errors.append(FieldError.required(f"{path}.image"))
    elif image != image.strip():
        errors.append(FieldError.invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    for check in _CHECKS:
        errors += check(found, path)
    errors += resources(found.get("resources") or {}, f"{path}.resources")
    errors += _mounts(found, volumes, path)
    sidecar = found.get("restartPolicy") == "Always"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if init and not sidecar and found.get(probe) is not None:
            words = "may not be set for init containers without restartPolicy=Always"
            errors.append(FieldError.forbidden(f"{path}.{probe}", words))
        else:
            errors += _probe(found, probe, path)
    for hook, handler in (found.get("lifecycle") or {}).items():
        if isinstance(handler, dict):
            errors += _handler(handler, _LIFECYCLE_HANDLERS, f"{path}.lifecycle.{hook}")
    return errors
