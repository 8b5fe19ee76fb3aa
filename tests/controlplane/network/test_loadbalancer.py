"""The load balancer with masters that die, hang and come back."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane.network import LoadBalancerConfig, run_loadbalancer
from controlplane.network.backends import Health
from controlplane.network.forwarder import Backend
from controlplane.network.loadbalancer import probe_context
from controlplane.network.probes import Prober
from tests.controlplane.network.servers import fetch, free_port, say, serving


@asynccontextmanager
async def balancing(*backends: Backend) -> AsyncIterator[int]:
    port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
    config = LoadBalancerConfig("127.0.0.1", port, backends, patience_seconds=1.0)
    task = asyncio.create_task(run_loadbalancer(config, stop=stop, ready=ready.set))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


async def test_clients_of_a_dead_master_are_reset_and_come_back_to_a_living_one() -> None:
    async with serving(say("a")) as one, serving(say("b")) as two, balancing(one.backend, two.backend) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        first = (await reader.read(1)).decode()
        dead, survivor = (one, "b") if first == "a" else (two, "a")
        await dead.die()
        with pytest.raises(ConnectionResetError):
            while await asyncio.wait_for(reader.read(1), 5):
                pass
            raise ConnectionResetError  # an orderly end tells the client as well
        writer.close()
        for _ in range(6):
            assert await fetch("127.0.0.1", port) == survivor


async def test_a_master_that_comes_back_is_used_again() -> None:
    back = Backend("127.0.0.1", free_port())
    async with serving(say("a")) as one, balancing(one.backend, back) as port:
        assert {await fetch("127.0.0.1", port) for _ in range(4)} == {"a"}
        async with serving(say("b"), port=back.port), asyncio.timeout(5):
            while await fetch("127.0.0.1", port) != "b":
                pass


async def test_a_load_balancer_without_backends_says_so() -> None:
    with pytest.raises(ValueError, match="at least one backend"):
        await run_loadbalancer(LoadBalancerConfig("127.0.0.1", 0, ()), stop=asyncio.Event(), ready=lambda: None)


class Told:
    """What a prober has said."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Health] = asyncio.Queue()

    def __call__(self, backend: Backend, health: Health) -> None:
        self._queue.put_nowait(health)

    async def until(self, health: Health) -> list[Health]:
        """What came before it."""
        before = []
        async with asyncio.timeout(10):
            while (told := await self._queue.get()) is not health:
                before.append(told)
        return before


@asynccontextmanager
async def probing(backend: Backend, context: ssl.SSLContext | None, **times: float) -> AsyncIterator[Told]:
    told = Told()
    timing = {"interval_seconds": 3600.0, "timeout_seconds": 5.0} | times
    task = asyncio.create_task(Prober(backend, told, ssl_context=context, **timing).run())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_prober_hears_of_a_death_at_once() -> None:
    async with serving(say("")) as server, probing(server.backend, None) as told:
        await told.until(Health.READY)
        await asyncio.sleep(0.01)
        await server.die()
        assert await told.until(Health.DOWN) == []


async def test_a_master_that_is_not_ready_is_unready_and_one_that_hangs_is_down_in_the_end(tmp_path: Path) -> None:
    server_context, client_context = certificates(tmp_path)
    answer: str | None = "200 OK"

    async def master(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            if answer is None:
                await reader.read()
            writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nok".encode())

    async with serving(master, context=server_context) as server:
        times = {"interval_seconds": 0.01, "timeout_seconds": 0.2}
        async with probing(server.backend, client_context, **times) as told:
            await told.until(Health.READY)
            answer = "500 Internal Server Error"
            assert set(await told.until(Health.UNREADY)) <= {Health.READY}
            answer = "200 OK"
            assert set(await told.until(Health.READY)) <= {Health.UNREADY}
            answer = None
            assert (await told.until(Health.DOWN))[-2:] == [Health.UNREADY, Health.UNREADY]


async def test_a_master_with_a_foreign_certificate_is_unready_but_keeps_its_clients(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    server_context, _ = certificates(tmp_path)
    _, other_context = certificates(tmp_path / "other")
    async with serving(say(""), context=server_context) as server, probing(server.backend, other_context) as told:
        assert await told.until(Health.UNREADY) == []


def certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server, client) contexts around a new self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    born = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, born, born + timedelta(days=36500))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(pem + secret)
    (folder / "ca.pem").write_bytes(pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    client = probe_context(folder / "ca.pem")
    assert client is not None
    return server, client
