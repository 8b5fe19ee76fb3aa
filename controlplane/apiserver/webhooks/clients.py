"""HTTPS to webhooks: one client an address, kept while it is used."""

from __future__ import annotations

import base64
import binascii
import ssl
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from controlplane.apiserver.storage import codec, layout
from controlplane.machinery.http import ConnectionLost, HttpClient

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

Object = dict[str, Any]

MOST_CLIENTS: Final = 64
_HEADERS: Final = {
    "content-type": "application/json",
    "accept": "application/json",
    "user-agent": "kube-apiserver-admission",
}


class CallFailed(Exception):
    """No usable answer; the message says why."""


def _tls(bundle: str) -> ssl.SSLContext:
    """Trusts the bundle (base64 of PEM), or the system's authorities when there is none."""
    if not bundle:
        return ssl.create_default_context()
    try:
        text = base64.b64decode(bundle).decode("ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=text)
        return context
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise CallFailed(f"unable to load root certificates: {error}") from None


class Clients:
    """Clients by address, server name and authority."""

    def __init__(self) -> None:
        self._clients: OrderedDict[tuple[str, str, str], HttpClient] = OrderedDict()

    async def _client(self, server: str, name: str, bundle: str) -> HttpClient:
        key = (server, name, bundle)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = HttpClient(server, _tls(bundle), server_name=name)
            if len(self._clients) > MOST_CLIENTS:
                _, oldest = self._clients.popitem(last=False)
                await oldest.close()
        self._clients.move_to_end(key)
        return client

    async def call(self, services: Services, config: Object, review: Object, timeout_seconds: float) -> Object:
        """POST a review to what a clientConfig names; the answered document. Raises CallFailed."""
        bundle = config.get("caBundle") or ""
        if config.get("url"):
            parts = urlsplit(config["url"])
            server, name, path = f"{parts.scheme}://{parts.netloc}", parts.hostname or "", parts.path or "/"
            shown = config["url"]
        else:
            server, name, path, shown = await _service(services, config.get("service") or {})
        query = f"?timeout={timeout_seconds:g}s"
        try:
            client = await self._client(server, name, bundle)
            body = codec.encode_json(review)
            answer = await client.request("POST", path + query, _HEADERS, body, timeout_seconds)
        except (ConnectionLost, OSError, ValueError) as error:
            raise CallFailed(f'failed to call webhook: Post "{shown}{query}": {error}') from None
        if answer.status != 200:
            raise CallFailed(f"failed to call webhook: the server responded with the status code {answer.status}")
        try:
            document = codec.decode(answer.body)
        except msgspec.DecodeError as error:
            raise CallFailed(f"failed to call webhook: {error}") from None
        if not isinstance(document, dict):
            raise CallFailed("failed to call webhook: the answer is not an object")
        return document

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


async def _service(services: Services, reference: Object) -> tuple[str, str, str, str]:
    """(server, TLS name, path, shown URL) of a Service: its cluster IP, under its name."""
    namespace, name, port = reference.get("namespace", ""), reference.get("name", ""), reference.get("port") or 443
    path = reference.get("path") or "/"
    path = path if path.startswith("/") else f"/{path}"
    entry = await services.store.get(layout.key("", "services", namespace, name))
    if entry is None:
        raise CallFailed(f'failed to call webhook: service "{name}" not found')
    spec: Object = entry.object().get("spec") or {}
    address = spec.get("clusterIP")
    if not address or address == "None":
        raise CallFailed(f'failed to call webhook: service "{name}" has no cluster IP')
    if not any(each.get("port") == port for each in spec.get("ports") or ()):
        raise CallFailed(f'failed to call webhook: no service port {port} found for service "{name}"')
    host = f"{name}.{namespace}.svc"
    return f"https://{address}:{port}", host, path, f"https://{host}:{port}{path}"
