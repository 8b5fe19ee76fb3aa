"""Services (their addresses and node ports are the server's to give)."""

from typing import Final

from controlplane.objects.defaults.fill import Object, each, edit, ensure, fill

_AFFINITY_SECONDS: Final = 10800


def _port(port: Object) -> Object:
    port = fill(port, {"protocol": "TCP"})
    if port.get("targetPort") in (None, 0, "") and port.get("port") is not None:
        port = {**port, "targetPort": port["port"]}
    return port


def _spec(spec: Object) -> Object:
    spec = fill(spec, {"sessionAffinity": "None", "type": "ClusterIP"})
    if spec["sessionAffinity"] == "None":
        spec = {key: value for key, value in spec.items() if key != "sessionAffinityConfig"}
    if spec["sessionAffinity"] == "ClientIP":
        spec = ensure(
            spec,
            "sessionAffinityConfig",
            lambda config: ensure(config, "clientIP", lambda ip: fill(ip, {"timeoutSeconds": _AFFINITY_SECONDS})),
        )
    spec = each(spec, "ports", _port)
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec = fill(spec, {"internalTrafficPolicy": "Cluster"})
    if spec["type"] in ("NodePort", "LoadBalancer") or (spec["type"] == "ClusterIP" and spec.get("externalIPs")):
        spec = fill(spec, {"externalTrafficPolicy": "Cluster"})
    if spec["type"] == "LoadBalancer":
        spec = fill(spec, {"allocateLoadBalancerNodePorts": True})
    return spec


DEFAULTS: Final = {("", "services"): lambda obj: edit(obj, "spec", _spec)}
