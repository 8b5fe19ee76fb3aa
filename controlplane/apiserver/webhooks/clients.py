"""HTTPS to webhooks: one client an address, kept while it is used."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from controlplane.apiserver.storage import codec, layout
from controlplane.machinery.http import ConnectionLost, HttpClient, Response

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
            servers, name, path = [f"{parts.scheme}://{parts.netloc}"], parts.hostname or "", parts.path or "/"
            shown = config["url"]
        else:
            servers, name, path, shown = await _service(services, config.get("service") or {})
        query = f"?timeout={timeout_seconds:g}s"
        body = codec.encode_json(review)
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._asked(servers, name, bundle, path + query, body, timeout_seconds)
        except TimeoutError:
            why = "context deadline exceeded"
            raise CallFailed(f'failed to call webhook: Post "{shown}{query}": {why}') from None
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

    async def _asked(
        self, servers: list[str], name: str, bundle: str, target: str, body: bytes, timeout_seconds: float
    ) -> Response:
        """The answer of the first server that can be connected to."""
        for at, server in enumerate(servers, start=1):
            client = await self._client(server, name, bundle)
            try:
                # the caller's limit comes first, so that both have the same words
                return await client.request("POST", target, _HEADERS, body, timeout_seconds + 1)
            except ConnectionLost as error:
                if error.sent or at == len(servers):
                    raise
        raise CallFailed("failed to call webhook: it has no address")

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


async def _service(services: Services, reference: Object) -> tuple[list[str], str, str, str]:
    """(servers, TLS name, path, shown URL) of a Service: its cluster IP, or else an endpoint, under its name.

    Where this server runs there may be no proxy for cluster IPs.
    """
    namespace, name, port = reference.get("namespace", ""), reference.get("name", ""), reference.get("port") or 443
    path = reference.get("path") or "/"
    path = path if path.startswith("/") else f"/{path}"
    entry = await services.store.get(layout.key("", "services", namespace, name))
    if entry is None:
        raise CallFailed(f'failed to call webhook: service "{name}" not found')
    spec: Object = entry.object().get("spec") or {}
    found = next((each for each in spec.get("ports") or () if each.get("port") == port), None)
    if found is None and spec.get("type") != "ExternalName":
        raise CallFailed(f'failed to call webhook: no service port {port} found for service "{name}"')
    places: list[tuple[str, int]] = []
    if found is None:
        places.append((str(spec.get("externalName")), port))
    else:
        if spec.get("clusterIP") not in (None, "", "None"):
            places.append((spec["clusterIP"], port))
        entry = await services.store.get(layout.key("", "endpoints", namespace, name))
        if entry is not None:
            places += _some_endpoint(services, entry.object(), found.get("name", ""))
    if not places:
        raise CallFailed(f'failed to call webhook: no endpoints available for service "{name}"')
    host = f"{name}.{namespace}.svc"
    return [_address(*each) for each in places], host, path, f"https://{host}:{port}{path}"


def _some_endpoint(services: Services, endpoints: Object, port_name: str) -> list[tuple[str, int]]:
    """One of the ready addresses, by chance; none when there is none."""
    choices = [
        (address["ip"], int(each["port"]))
        for subset in endpoints.get("subsets") or ()
        for each in subset.get("ports") or ()
        if each.get("name", "") == port_name
        for address in subset.get("addresses") or ()
    ]
    return [services.environment.random.choice(choices)] if choices else []


def _address(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
