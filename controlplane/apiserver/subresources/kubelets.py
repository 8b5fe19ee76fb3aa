"""Requests that the API server sends on: to kubelets with its own certificate, to pods and services as plain HTTP."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from controlplane.apiserver.config import ApiServerConfig
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.machinery.http import ConnectionLost, Headers, HttpClient, ResponseStream
from controlplane.objects import status
from controlplane.objects.kinds import NODES

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

MOST_CLIENTS: Final = 512
CONNECT_SECONDS: Final = 5.0
_ADDRESS_TYPES: Final = ("InternalIP", "Hostname", "ExternalIP", "InternalDNS")
_DROPPED: Final = frozenset(
    {"host", "connection", "transfer-encoding", "content-length", "authorization", "upgrade", "accept-encoding"}
)


Endpoint = tuple[str, int, ssl.SSLContext | None]


def _tls(config: ApiServerConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if config.kubelet_certificate_authority is not None:
        context.load_verify_locations(str(config.kubelet_certificate_authority))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # as kube-apiserver without --kubelet-certificate-authority
    if config.kubelet_client_certificate is not None and config.kubelet_client_key is not None:
        context.load_cert_chain(str(config.kubelet_client_certificate), str(config.kubelet_client_key))
    return context


class Upstreams:
    """HTTP clients by address, kept while they are used."""

    def __init__(self, config: ApiServerConfig) -> None:
        self._config = config
        self._context: ssl.SSLContext | None = None
        self._unverified: ssl.SSLContext | None = None
        self._clients: OrderedDict[tuple[str, ssl.SSLContext | None, str], HttpClient] = OrderedDict()

    async def _client(self, server: str, context: ssl.SSLContext | None, server_name: str = "") -> HttpClient:
        key = (server, context, server_name)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = HttpClient(
                server, context, server_name=server_name, connect_timeout_seconds=CONNECT_SECONDS
            )
            if len(self._clients) > MOST_CLIENTS:
                _, oldest = self._clients.popitem(last=False)
                await oldest.close()
        self._clients.move_to_end(key)
        return client

    async def kubelet(self, services: Services, node: str) -> HttpClient:
        """A client of a node's kubelet; raises 404 or 500."""
        return await self.client("https", await self.kubelet_endpoint(services, node))

    async def kubelet_endpoint(self, services: Services, node: str) -> Endpoint:
        """Where a node's kubelet listens, and the TLS to speak with it; raises 404 or 500."""
        entry = await services.store.get(layout.key("", NODES.plural, "", node))
        if entry is None:
            raise status.not_found(NODES, node)
        found: dict[str, Any] = entry.object().get("status") or {}
        addresses = {each.get("type"): each.get("address") for each in found.get("addresses") or ()}
        address = next((addresses[kind] for kind in _ADDRESS_TYPES if addresses.get(kind)), None)
        if address is None:
            raise status.internal_error(f"no preferred addresses found; known addresses: {sorted(addresses)}")
        endpoint = (found.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
        port = int(endpoint.get("Port") or self._config.kubelet_port)
        if self._context is None:
            self._context = _tls(self._config)
        return str(address), port, self._context

    async def client(self, scheme: str, endpoint: Endpoint) -> HttpClient:
        """A client of what is at an endpoint."""
        address, port, context = endpoint
        return await self._client(f"{scheme}://{_host(address)}:{port}", context)

    async def remote(
        self, host: str, port: int, server_name: str, tls: Callable[[ApiServerConfig], ssl.SSLContext]
    ) -> HttpClient:
        """A client of a server that is known by another name than its address (an aggregated API); `tls` makes its
        TLS, which is another one whenever its registration changes."""
        context = tls(self._config)
        return await self._client(f"https://{_host(host)}:{port}", context, server_name)

    def plain_context(self, scheme: str) -> ssl.SSLContext | None:
        """The TLS of a pod or a service, which is not verified, as in kube-apiserver; None for http."""
        if scheme == "https" and self._unverified is None:
            self._unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._unverified.check_hostname = False
            self._unverified.verify_mode = ssl.CERT_NONE
        return self._unverified if scheme == "https" else None

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


async def opened(
    client: HttpClient, method: str, target: str, headers: Headers = (), body: bytes = b""
) -> ResponseStream:
    """The head of an upstream's answer; raises 503 when nobody answers."""
    try:
        return await client.stream(method, target, headers, body)
    except (ConnectionLost, OSError) as error:
        raise status.service_unavailable(f"error trying to reach service: {error}") from error


def forwarded_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """A client's headers without those of its own connection and credentials."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if name.decode("latin-1") not in _DROPPED and not name.startswith((b"impersonate-", b"x-remote-"))
    }


def quoted(path: str) -> str:
    """A path as it goes on the wire."""
    return quote(path, safe="/:@!$&'()*+,;=~-._")


def node_of(pod: Object) -> str:
    """The node that runs a pod; "" while none does."""
    return str((pod.get("spec") or {}).get("nodeName") or "")
