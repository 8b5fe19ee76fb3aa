"""nodes/proxy, pods/proxy, services/proxy: an HTTP request passed on to a kubelet, a pod or an endpoint of a service."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from controlplane.apiserver import tunnel
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.context import Answer, Context, Result, SendChunk, Stream
from controlplane.apiserver.registry import connecting
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.subresources import kubelets
from controlplane.machinery.http import ResponseStream
from controlplane.objects import status
from controlplane.objects.kinds import ENDPOINTS, NODES, PODS, SERVICES, Resource

_HOP_BY_HOP: Final = frozenset(
    {"connection", "transfer-encoding", "content-length", "keep-alive", "upgrade", "audit-id", "content-encoding"}
)


def split_name(name: str) -> tuple[str, str, str]:
    """(scheme, name, port) of `[scheme:]name[:port]`; the scheme is http when absent, the port may be a name or ""."""
    parts = name.split(":")
    if len(parts) == 1:
        return "http", parts[0], ""
    if len(parts) == 2:
        return "http", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0] or "http", parts[1], parts[2]
    raise status.bad_request(f"invalid proxy target {name!r}")


async def _object(context: Context, resource: Resource, namespace: str, name: str) -> Object:
    entry = await context.services.store.get(layout.key(resource.group, resource.plural, namespace, name))
    if entry is None:
        raise status.not_found(resource, name)
    return entry.object()


def _allowed(address: str) -> str:
    """The address, unless no pod has such a one: link-local (where clouds tell machines their secrets), unspecified,
    multicast. ApiError 400 for those, in Kubernetes' words."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise status.bad_request("address not allowed") from error
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast:
        raise status.bad_request("address not allowed")
    return address


async def _pod_address(context: Context, name: str, port: str) -> tuple[str, int]:
    pod = await _object(context, PODS, context.info.path.namespace, name)
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise status.bad_request("address not allowed")
    containers: list[Any] = (pod.get("spec") or {}).get("containers") or []
    ports = [each for container in containers for each in container.get("ports") or ()]
    if not port:
        number = int(ports[0]["containerPort"]) if ports else 80
    elif port.isdigit():
        number = int(port)
    else:
        number = next((int(each["containerPort"]) for each in ports if each.get("name") == port), 0)
        if not number:
            raise status.service_unavailable(f"no port named {port} in pod {name}")
    return str(address), number


def _service_port(service: Object, port: str) -> Object | None:
    ports: list[Object] = (service.get("spec") or {}).get("ports") or []
    if not port:
        return ports[0] if len(ports) == 1 else None
    return next((each for each in ports if port in (each.get("name"), str(each.get("port")))), None)


async def _service_address(context: Context, name: str, port: str) -> tuple[str, int]:
    namespace = context.info.path.namespace
    service = await _object(context, SERVICES, namespace, name)
    found = _service_port(service, port)
    endpoints = await _object(context, ENDPOINTS, namespace, name)
    choices = [
        (address["ip"], int(each["port"]))
        for subset in endpoints.get("subsets") or ()
        for each in subset.get("ports") or ()
        if found is not None and each.get("name", "") == found.get("name", "")
        for address in subset.get("addresses") or ()
    ]
    if not choices:
        raise status.service_unavailable(f'no endpoints available for service "{name}"')
    return context.services.environment.random.choice(choices)


async def _endpoint(context: Context, resource: Resource) -> tuple[str, kubelets.Endpoint]:
    """(scheme, where)."""
    scheme, name, port = split_name(context.info.path.name)
    upstreams = context.services.upstreams
    if resource == NODES:
        return "https", await upstreams.kubelet_endpoint(context.services, name)
    find = _pod_address if resource == PODS else _service_address
    address, number = await find(context, name, port)
    return scheme, (_allowed(address), number, upstreams.plain_context(scheme))


async def _upgraded(context: Context, resource: Resource, endpoint: kubelets.Endpoint, target: str) -> Result:
    """A WebSocket, or whatever else, of a pod. Of a kubelet: it may be an exec, for which reading is not enough."""
    path = context.info.path
    if resource == NODES and not context.services.authorizer.is_master(context.user):
        asked = Attributes("create", path.group, path.version, path.resource, path.subresource, path.name)
        await context.services.authorizer.require(context.user, asked)
    found = await tunnel.opened(context, endpoint, target, tunnel.upgrade_headers(context))
    return Answer(found.body, found.code, found.media_type) if isinstance(found, tunnel.Refusal) else found


async def handle(context: Context, resource: Resource) -> Result:
    rest = "/".join(context.info.path.rest)
    trailing = "/" if context.info.path.path.endswith("/") and rest else ""
    wanted = {"path": f"/{rest}{trailing}"}
    options = await connecting.admitted(context, resource, f"{resource.kind}ProxyOptions", wanted)
    scheme, endpoint = await _endpoint(context, resource)
    target = kubelets.quoted(str(options.get("path") or "/"))
    if context.raw_query:
        target += f"?{context.raw_query.decode('latin-1')}"
    if tunnel.wants_upgrade(context):
        return await _upgraded(context, resource, endpoint, target)
    client = await context.services.upstreams.client(scheme, endpoint)
    body = b"" if context.method in ("GET", "HEAD") else await context.body()
    headers = kubelets.forwarded_headers(context.all_headers)
    return streamed(context, await kubelets.opened(client, context.method, target, headers, body))


def streamed(context: Context, upstream: ResponseStream) -> Stream:
    """An upstream's answer as ours, passed on while it comes."""
    media_type = upstream.headers.get("content-type", "application/octet-stream")
    kept = tuple(
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in upstream.headers.items()
        if name not in _HOP_BY_HOP and name != "content-type"
    )
    return Stream(lambda send: _copy(context, upstream, send), upstream.status, media_type, kept)


async def _copy(context: Context, upstream: ResponseStream, send: SendChunk) -> None:
    forget = context.connection.on_lost(upstream.close)
    try:
        async with upstream:
            async for chunk in upstream:
                await send(chunk)
    finally:
        forget()
