"""Pods and pod templates: the spec, its containers, probes and volumes."""

from typing import Any, Final

from controlplane.objects.defaults.fill import Object, chain, each, edit, edit_at, ensure, fill

_SPEC: Final = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": 30,
    "schedulerName": "default-scheduler",
}
_PROBE: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_SOURCES_WITH_MODE: Final = ("secret", "configMap", "downwardAPI", "projected")


def image_pull_policy(image: str) -> str:
    """Always for the tag `latest` (said or not), IfNotPresent for any other tag or a digest."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2] or "latest"
    return "Always" if tag == "latest" else "IfNotPresent"


def _http_get(action: Object) -> Object:
    return fill(action, {"path": "/", "scheme": "HTTP"})


def _probe(probe: Object) -> Object:
    probe = edit(probe, "httpGet", _http_get)
    return fill(edit(probe, "grpc", lambda grpc: fill(grpc, {"service": ""})), _PROBE)


def _lifecycle(lifecycle: Object) -> Object:
    for hook in ("postStart", "preStop"):
        lifecycle = edit_at(lifecycle, (hook, "httpGet"), _http_get)
    return lifecycle


def _field_ref(owner: Object) -> Object:
    owner = edit(owner, "fieldRef", lambda ref: fill(ref, {"apiVersion": "v1"}))
    return edit(owner, "resourceFieldRef", lambda ref: fill(ref, {"divisor": "0"}))


def _container(container: Object) -> Object:
    container = fill(
        container,
        {
            "imagePullPolicy": image_pull_policy(container.get("image") or ""),
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "resources": {},
        },
    )
    container = each(container, "ports", lambda port: fill(port, {"protocol": "TCP"}))
    container = each(container, "env", lambda env: edit(env, "valueFrom", _field_ref))
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        container = edit(container, probe, _probe)
    return edit(container, "lifecycle", _lifecycle)


def _projection(source: Object) -> Object:
    source = edit_at(source, ("downwardAPI",), lambda api: each(api, "items", _field_ref))
    return edit(source, "serviceAccountToken", lambda token: fill(token, {"expirationSeconds": 3600}))


def _volume(volume: Object) -> Object:
    if not volume.keys() - {"name"}:
        return {**volume, "emptyDir": {}}
    for source in _SOURCES_WITH_MODE:
        volume = edit(volume, source, lambda found: fill(found, {"defaultMode": 0o644}))
    volume = edit(volume, "hostPath", lambda path: fill(path, {"type": ""}))
    volume = edit(volume, "downwardAPI", lambda api: each(api, "items", _field_ref))
    volume = edit(volume, "projected", lambda projected: each(projected, "sources", _projection))
    volume = edit(volume, "iscsi", lambda iscsi: fill(iscsi, {"iscsiInterface": "default"}))
    return edit_at(
        volume, ("ephemeral", "volumeClaimTemplate", "spec"), lambda spec: fill(spec, {"volumeMode": "Filesystem"})
    )


def _host_ports(container: Object) -> Object:
    return each(container, "ports", lambda port: fill(port, {"hostPort": port.get("containerPort", 0)}))


def pod_spec(spec: Object) -> Object:
    """The defaults of a pod's spec, also inside of a template."""
    for containers in _CONTAINERS:
        spec = each(spec, containers, _container)
    if spec.get("hostNetwork"):
        for containers in _CONTAINERS[:2]:
            spec = each(spec, containers, _host_ports)
    spec = each(spec, "volumes", _volume)
    spec = fill(spec, {**_SPEC, "securityContext": {}})
    # the old name of the field mirrors the new one
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    return fill(spec, {"serviceAccountName": account, "serviceAccount": account}) if account else spec


def pod_template(template: Object) -> Object:
    """The defaults of a PodTemplateSpec."""
    return ensure(edit(template, "spec", pod_spec), "metadata", lambda metadata: metadata)


def _requests_from_limits(container: Object) -> Object:
    resources: dict[str, Any] = container.get("resources") or {}
    limits: dict[str, Any] = resources.get("limits") or {}
    requests: dict[str, Any] = resources.get("requests") or {}
    missing = {name: amount for name, amount in limits.items() if name not in requests}
    if not missing:
        return container
    return {**container, "resources": {**resources, "requests": {**requests, **missing}}}


def _running(spec: Object) -> Object:
    """What only a pod has, not a template: requests follow limits."""
    for containers in _CONTAINERS[:2]:
        spec = each(spec, containers, _requests_from_limits)
    return fill(spec, {"enableServiceLinks": True})


def _pod(pod: Object) -> Object:
    return edit(pod, "spec", chain(pod_spec, _running))


DEFAULTS: Final = {
    ("", "pods"): _pod,
    ("", "podtemplates"): lambda template: edit(template, "template", pod_template),
}
