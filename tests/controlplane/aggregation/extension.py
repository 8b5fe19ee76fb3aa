"""An extension API server as its author writes it: flunders of wardle.example.com over TLS, for our front proxy alone."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from typing import Any

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import API_SERVICES, ENDPOINTS, SERVICES
from tests.controlplane.apiserver.pki import Authority

Object = dict[str, Any]

GROUP, VERSION = "wardle.example.com", "v1alpha1"
PATH = f"/apis/{GROUP}/{VERSION}"
VERBS = ["create", "delete", "get", "list", "watch"]
MARK = {"group": GROUP, "version": VERSION, "kind": "Flunder"}
DEFINITION = {
    "type": "object",
    "description": "a flunder",
    "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}},
    "x-kubernetes-group-version-kind": [MARK],
}


class ExtensionServer:
    """Serves on 127.0.0.1; `seen` holds the headers of every request, repeated ones in lists."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._server: asyncio.Server | None = None
        self.flunders: dict[str, Object] = {}
        self.seen: list[tuple[str, str, dict[str, list[str]]]] = []
        self.port = 0

    async def __aenter__(self) -> ExtensionServer:
        certificate, key = self._authority.issue("extension", "extension", server=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(certificate), str(key))
        context.load_verify_locations(str(self._authority.path))
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def bundle(self) -> str:
        return base64.b64encode(self._authority.path.read_bytes()).decode()

    async def expose(self, client: ApiClient) -> None:
        """Its Service and where that leads."""
        ports = [{"name": "https", "port": 443, "targetPort": self.port}]
        await client.create(SERVICES, {"metadata": {"name": "flunders"}, "spec": {"ports": ports}}, "default")
        subset = {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "https", "port": self.port}]}
        await client.create(ENDPOINTS, {"metadata": {"name": "flunders"}, "subsets": [subset]}, "default")

    async def register(self, client: ApiClient, **spec: Any) -> Object:
        wanted = {
            "group": GROUP, "version": VERSION, "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": {"name": "flunders", "namespace": "default"}, "caBundle": self.bundle, **spec,
        }  # fmt: skip
        name = f"{wanted['version']}.{wanted['group']}"
        return await client.create(API_SERVICES, {"metadata": {"name": name}, "spec": wanted})

    # What it answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers: dict[str, list[str]] = {}
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(": ")
                headers.setdefault(name.lower(), []).append(value)
        body = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
        path, _, query = target.partition("?")
        self.seen.append((method, target, headers))
        if "upgrade" in headers:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            writer.write(await reader.readexactly(4))
            await writer.drain()
            return False
        if "watch=" in query:
            return await self._watch(writer)
        code, document = self._answer(method, path, body)
        raw = json.dumps(document).encode()
        head = f"HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
        await writer.drain()
        return True

    async def _watch(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for flunder in self.flunders.values():
            line = json.dumps({"type": "ADDED", "object": flunder}).encode() + b"\n"
            writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Object]:
        collection = f"{PATH}/namespaces/default/flunders"
        if path == PATH:
            resource = {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder"}
            resources = [{**resource, "verbs": VERBS, "shortNames": ["fl"]}]
            return 200, {"kind": "APIResourceList", "groupVersion": f"{GROUP}/{VERSION}", "resources": resources}
        if path == "/openapi/v3":
            return 200, {"paths": {PATH[1:]: {"serverRelativeURL": f"/openapi/v3{PATH}?hash=1"}}}
        if path == f"/openapi/v3{PATH}":
            schemas = {"com.example.wardle.v1alpha1.Flunder": DEFINITION}
            operation = {"x-kubernetes-action": "list", "x-kubernetes-group-version-kind": MARK}
            info = {"title": "wardle", "version": "1"}
            paths = {f"{PATH}/namespaces/{{namespace}}/flunders": {"get": operation}}
            return 200, {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}
        if path == "/openapi/v2":
            info, definitions = {"title": "wardle", "version": "1"}, {"com.example.wardle.v1alpha1.Flunder": DEFINITION}
            paths = {f"{PATH}/namespaces/{{namespace}}/flunders": {"get": {"responses": {}}}}
            return 200, {"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions}
        if path == collection and method == "POST":
            flunder = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Flunder", **json.loads(body)}
            flunder["metadata"] = {"namespace": "default", "uid": "1", "resourceVersion": "1", **flunder["metadata"]}
            self.flunders[flunder["metadata"]["name"]] = flunder
            return 201, flunder
        if path == collection or path == f"{PATH}/flunders":
            items = list(self.flunders.values())
            return 200, {"apiVersion": f"{GROUP}/{VERSION}", "kind": "FlunderList", "metadata": {}, "items": items}
        found = self.flunders.get(path.rpartition("/")[2])
        if found is None:
            return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        return 200, found
