"""A proxy before an echo server, hurt in one way after the other."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from chaos.net.conditions import CLIENTS, Condition, Rules
from chaos.net.proxy import Proxy, dialler

WAIT_SECONDS = 5.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def proxied(rules: Rules) -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy("m1", server.sockets[0].getsockname(), rules, lambda here, there: CLIENTS, Random(1))
    reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.listen())
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield proxy, reader, writer
    finally:
        writer.close()
        await proxy.close()
        server.close()


async def test_without_rules_everything_passes() -> None:
    async with proxied(Rules()) as (_, reader, writer):
        writer.write(b"x" * 300_000)
        assert await reader.readexactly(300_000) == b"x" * 300_000


@pytest.mark.parametrize(("source", "destination"), [(CLIENTS, "m1"), ("m1", CLIENTS)])
async def test_a_cut_of_either_direction_holds_everything_back_until_it_is_healed(
    source: str, destination: str
) -> None:
    rules, cut = Rules(), Condition(source, destination, cut=True)
    async with proxied(rules) as (_, reader, writer):
        rules.add(cut)
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(4), 0.1)
        assert cut.touched == 1
        rules.remove(cut)
        assert await reader.readexactly(4) == b"held"


async def test_a_cut_of_another_link_does_not_matter() -> None:
    rules, cut = Rules(), Condition("m2", "m1", cut=True)
    rules.add(cut)
    async with proxied(rules) as (_, reader, writer):
        writer.write(b"free")
        assert await reader.readexactly(4) == b"free"
    assert cut.touched == 0


async def test_delays_add_up() -> None:
    rules = Rules()
    for seconds in (0.1, 0.05):
        rules.add(Condition(CLIENTS, "m1", delay_seconds=seconds))
    async with proxied(rules) as (_, reader, writer):
        began = asyncio.get_running_loop().time()
        writer.write(b"slow")
        await reader.readexactly(4)
        assert asyncio.get_running_loop().time() - began >= 0.15


async def test_a_piece_that_is_cut_in_half_ends_the_connection() -> None:
    rules = Rules()
    rules.add(Condition("m1", CLIENTS, truncate=True))
    async with proxied(rules) as (_, reader, writer):
        writer.write(b"12345678")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(8)


async def test_a_reset_is_told_to_the_client() -> None:
    async with proxied(Rules()) as (proxy, reader, writer):
        writer.write(b"1")
        await reader.readexactly(1)
        assert proxy.reset() == 2  # both halves
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)


def test_who_dialled_is_known_by_the_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as mine:
        here, there = mine.getsockname(), mine.getpeername()
        assert dialler(here, there, {"m1": 1, "m2": os.getpid()}) == "m2"
        assert dialler(here, there, {"m1": 1}) == CLIENTS
        assert dialler(("127.0.0.1", 1), there, {"m2": os.getpid()}) == CLIENTS
