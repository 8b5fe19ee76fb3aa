"""grpcio's clients judge our server."""

import asyncio
import gc
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from tests.kvstore.rpc.conftest import Example


async def _messages(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


@pytest.fixture
async def channel(example: Example) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(example.target) as made:
        yield made


async def test_unary_messages_of_all_sizes_come_back(channel: grpc.aio.Channel) -> None:
    echo = channel.unary_unary("/test.Example/Echo")
    for size in (0, 1, 16_379, 16_380, 65_535, 70_000, 2 * 1024 * 1024):
        assert await echo(b"x" * size) == b"x" * size


async def test_hundreds_of_calls_in_flight_get_their_own_answers(channel: grpc.aio.Channel) -> None:
    echo = channel.unary_unary("/test.Example/Echo")
    messages = [b"%d" % index * (index % 700) for index in range(500)]
    assert await asyncio.gather(*(echo(message) for message in messages)) == messages


async def test_a_failure_has_code_text_and_trailers(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Example/Fail")(b"")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "etcdserver: requested lease not found; 100 % \u00e9\n"
    trailers = dict(caught.value.trailing_metadata() or ())
    assert trailers["why"] == "test"
    assert trailers["raw-bin"] == b"\0\1"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/test.Example/Nothing", "unknown method Nothing for service test.Example"),
        ("/other.Service/Echo", "unknown service other.Service"),
    ],
)
async def test_unknown_paths_are_unimplemented_in_grpcs_words(channel: grpc.aio.Channel, path: str, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(path)(b"")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, text)


async def test_a_message_above_the_limit_is_refused_in_grpcs_words(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Example/Echo")(b"x" * 3_000_000)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "grpc: received message larger than max (3000000 vs. 2097152)"
    assert await channel.unary_unary("/test.Example/Echo")(b"still fine") == b"still fine"


async def test_metadata_arrives_joined_and_lower_case(example: Example, channel: grpc.aio.Channel) -> None:
    metadata = (("token", "secret"), ("many", "a"), ("many", "b"), ("raw-bin", b"\xff\0"))
    await channel.unary_unary("/test.Example/Echo")(b"", metadata=metadata)
    seen = example.calls[-1].metadata
    assert seen["token"] == "secret"
    assert seen["many"] == "a,b"
    assert seen["raw-bin"] in ("/wA", "/wA=")
    assert example.calls[-1].peer.startswith("127.0.0.1:")


async def test_compressed_requests_are_understood(channel: grpc.aio.Channel) -> None:
    message = b"zip" * 10_000
    assert await channel.unary_unary("/test.Example/Echo")(message, compression=grpc.Compression.Gzip) == message


async def test_a_deadline_reaches_the_handler_and_ends_the_call(example: Example, channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Example/Wait")(b"", timeout=0.15)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    call = await example.waiting.get()
    assert call.deadline is not None
    assert await example.endings.get() == "cancelled"
    assert not call.is_open
    call.reply(b"too late: dropped")


async def test_a_cancelled_call_tells_the_handler(example: Example, channel: grpc.aio.Channel) -> None:
    pending = channel.unary_unary("/test.Example/Wait")(b"")
    call = await _first(example, pending)
    pending.cancel()
    assert await example.endings.get() == "cancelled"
    assert not call.is_open


async def _first(example: Example, pending: object) -> object:
    waiting = asyncio.ensure_future(example.waiting.get())
    return await waiting


async def test_an_answer_may_come_later(example: Example, channel: grpc.aio.Channel) -> None:
    pending = channel.unary_unary("/test.Example/Wait")(b"")
    call = await example.waiting.get()
    call.reply(b"later")
    assert await pending == b"later"


async def test_a_bug_in_a_handler_is_unknown_and_the_connection_lives(
    channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Example/Bug")(b"")
    assert caught.value.code() == grpc.StatusCode.UNKNOWN
    assert "ZeroDivisionError" in caplog.text
    assert await channel.unary_unary("/test.Example/Echo")(b"alive") == b"alive"


async def test_streams_go_both_ways_and_end_with_trailers(example: Example, channel: grpc.aio.Channel) -> None:
    messages = [b"%d" % index * 30_000 for index in range(40)]
    call = channel.stream_stream("/test.Example/Stream")(_messages(*messages))
    assert [message async for message in call] == messages
    assert dict(await call.trailing_metadata() or ())["stream-trailer"] == "yes"
    assert await example.endings.get() == "half-closed"


async def test_a_stream_that_is_cancelled_tells_its_receiver(example: Example, channel: grpc.aio.Channel) -> None:
    call = channel.stream_stream("/test.Example/Stream")()
    await call.write(b"one")
    assert await call.read() == b"one"
    call.cancel()
    assert await example.endings.get() == "cancelled"


async def test_a_server_stream_of_megabytes_is_flow_controlled_and_whole(channel: grpc.aio.Channel) -> None:
    call = channel.unary_stream("/test.Example/Many")(b"300 50000")
    sizes = [len(message) async for message in call]
    assert sizes == [50_000] * 300


async def test_the_synchronous_client_works_too(example: Example) -> None:
    def talk() -> tuple[bytes, list[bytes]]:
        with grpc.insecure_channel(example.target) as channel:
            answer = channel.unary_unary("/test.Example/Echo")(b"sync", timeout=10)
            many = list(channel.stream_stream("/test.Example/Stream")(iter([b"a", b"b"]), timeout=10))
        return answer, many

    assert await asyncio.get_running_loop().run_in_executor(None, talk) == (b"sync", [b"a", b"b"])


async def test_a_stopping_server_lets_running_calls_end(example: Example, channel: grpc.aio.Channel) -> None:
    pending = channel.unary_unary("/test.Example/Wait")(b"")
    call = await example.waiting.get()
    stopping = asyncio.create_task(example.server.stop(5.0))
    await asyncio.sleep(0)
    call.reply(b"finished")
    assert await pending == b"finished"
    await stopping


async def test_a_stopping_server_cuts_what_outlives_the_grace(example: Example, channel: grpc.aio.Channel) -> None:
    pending = channel.unary_unary("/test.Example/Wait")(b"")
    await example.waiting.get()
    await example.server.stop(0.0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pending
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    del caught
    gc.collect()
