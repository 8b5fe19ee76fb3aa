"""Real kubectl reads our discovery and OpenAPI from a server that has nothing else."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.apiserver import discovery
from controlplane.apiserver.openapi import V2_PROTOBUF, OpenApi
from controlplane.objects.scheme import Scheme

BIN = Path(sys.executable).parent
FETCHED = BIN.parent / "tools" / "kubectl-1.37"  # by make tools
KUBECTL = str(FETCHED) if FETCHED.exists() else shutil.which("kubectl", path=str(BIN))
SCHEME = Scheme.load()
DOCUMENTS = OpenApi(SCHEME)

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="no kubectl 1.37: make tools")


def answer(path: str) -> tuple[bytes, str] | None:
    """(body, content type) of one path."""
    if path in ("/api", "/apis"):
        document = discovery.group_discovery_list(SCHEME, core=path == "/api")
        return json.dumps(document).encode(), discovery.media_type("v2")
    if path == "/openapi/v2":
        return DOCUMENTS.v2_protobuf(), V2_PROTOBUF
    if path == "/openapi/v3":
        return DOCUMENTS.index(), "application/json"
    if path == "/version":
        return json.dumps(discovery.version_info()).encode(), "application/json"
    body = DOCUMENTS.document(path.removeprefix("/openapi/v3/"))
    return (body, "application/json") if body else None


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    found = answer(head.split(" ")[1].partition("?")[0])
    body, kind = found or (b"{}", "application/json")
    status = "200 OK" if found else "404 Not Found"
    writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n".encode())
    writer.write(b"Connection: close\r\n\r\n" + body)
    await writer.drain()
    writer.close()


@pytest.fixture
async def server() -> AsyncIterator[str]:
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    yield f"http://{host}:{port}"
    listener.close()


async def kubectl(server: str, home: Path, *arguments: str) -> str:
    assert KUBECTL is not None
    process = await asyncio.create_subprocess_exec(
        KUBECTL, f"--server={server}", f"--cache-dir={home}", *arguments, env={"HOME": str(home), "KUBECONFIG": "/dev/null"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_kubectl_lists_every_resource(server: str, tmp_path: Path) -> None:
    out = await kubectl(server, tmp_path, "api-resources", "--no-headers", "--output=name")
    preferred = {info.resource.group_resource for info in SCHEME.resources}
    assert set(out.split()) == preferred
    assert len(out.split()) == 71


async def test_kubectl_explains_fields_from_both_versions(server: str, tmp_path: Path) -> None:
    out = await kubectl(server, tmp_path, "explain", "pod.spec.containers.ports.protocol")
    assert "FIELD: protocol <string>" in out
    assert "Protocol for port. Must be UDP, TCP, or SCTP" in out
    assert "ENUM:" in out
    old = await kubectl(server, tmp_path, "explain", "deploy.spec.strategy", "--output=plaintext-openapiv2")
    assert "rollingUpdate" in old
    assert "VERSION:  apps/v1" in old


async def test_kubectl_reads_the_version(server: str, tmp_path: Path) -> None:
    out = await kubectl(server, tmp_path, "version", "--output=json")
    assert json.loads(out)["serverVersion"]["gitVersion"] == "v1.37.0+pilothouse"
