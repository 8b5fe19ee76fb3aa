"""grpcio's server judges our channel."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest

from kvstore.rpc import Channel, Code, RpcError


@dataclass
class Judge(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A generic grpcio service."""

    port: int = 0
    metadata: dict[str, str | bytes] = field(default_factory=dict)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        handlers = {
            "/j/Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "/j/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/j/Never": grpc.unary_unary_rpc_method_handler(self.never),
            "/j/Stream": grpc.stream_stream_rpc_method_handler(self.stream),
            "/j/Many": grpc.unary_stream_rpc_method_handler(self.many),
        }
        return handlers.get(details.method)

    async def echo(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.metadata = dict(context.invocation_metadata() or ())
        return request

    async def fail(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        context.set_trailing_metadata((("why", "test"),))
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "etcdserver: 100 % \u00e9")
        return b""

    async def never(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return b""

    async def stream(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def many(self, request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield b"x" * 50_000


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    handler = Judge()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((handler,))
    handler.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield handler
    await server.stop(0)


@pytest.fixture
async def channel(judge: Judge) -> AsyncIterator[Channel]:
    made = Channel(f"127.0.0.1:{judge.port}")
    yield made
    await made.close()


async def test_unary_messages_of_all_sizes_come_back(channel: Channel) -> None:
    for size in (0, 1, 16_379, 16_380, 65_535, 70_000, 5_000_000):
        assert await channel.unary("/j/Echo", b"x" * size) == b"x" * size


async def test_a_thousand_calls_in_flight_get_their_own_answers(channel: Channel) -> None:
    messages = [b"%d" % index for index in range(1_000)]
    assert await asyncio.gather(*(channel.unary("/j/Echo", message) for message in messages)) == messages


async def test_metadata_and_timeout_reach_the_server(channel: Channel, judge: Judge) -> None:
    await channel.unary("/j/Echo", b"", {"hasleader": "true", "raw-bin": b"\0\xff"}, timeout=5.0)
    assert judge.metadata["hasleader"] == "true"
    assert judge.metadata["raw-bin"] == b"\0\xff"


async def test_a_failure_has_code_text_and_metadata(channel: Channel) -> None:
    with pytest.raises(RpcError) as caught:
        await channel.unary("/j/Fail", b"")
    error = caught.value
    assert (error.code, error.text, error.sent) == (Code.OUT_OF_RANGE, "etcdserver: 100 % \u00e9", True)
    assert error.metadata["why"] == "test"


async def test_an_unknown_method_is_unimplemented(channel: Channel) -> None:
    with pytest.raises(RpcError) as caught:
        await channel.unary("/j/None", b"")
    assert caught.value.code == Code.UNIMPLEMENTED


async def test_a_call_past_its_deadline_ends_here_and_there(channel: Channel, judge: Judge) -> None:
    with pytest.raises(RpcError) as caught:
        await channel.unary("/j/Never", b"", timeout=0.1)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
    await judge.cancelled.wait()
    assert await channel.unary("/j/Echo", b"alive") == b"alive"


async def test_a_cancelled_task_resets_its_stream(channel: Channel, judge: Judge) -> None:
    await channel.connect()
    task = asyncio.create_task(channel.unary("/j/Never", b""))
    assert await channel.unary("/j/Echo", b"") == b""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await judge.cancelled.wait()


async def test_streams_go_both_ways(channel: Channel) -> None:
    stream = channel.stream("/j/Stream")
    messages = [b"%d" % index * 30_000 for index in range(40)]
    for message in messages:
        stream.send(message)
    stream.half_close()
    assert [message async for message in stream] == messages


async def test_a_slow_consumer_holds_the_server_and_loses_nothing(channel: Channel) -> None:
    stream = channel.stream("/j/Many")
    stream.send(b"200")
    stream.half_close()
    sizes = []
    async for message in stream:
        sizes.append(len(message))
        assert stream._inbox.queued_bytes <= 3 * 1024 * 1024
        await asyncio.sleep(0)
    assert sizes == [50_000] * 200


async def test_a_cancelled_stream_raises_cancelled(channel: Channel) -> None:
    stream = channel.stream("/j/Stream")
    stream.send(b"one")
    assert await anext(stream) == b"one"
    stream.cancel()
    with pytest.raises(RpcError) as caught:
        await anext(stream)
    assert caught.value.code == Code.CANCELLED


async def test_a_refused_connection_is_unavailable_and_certainly_not_sent(unused_tcp_port: int) -> None:
    channel = Channel(f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(RpcError) as caught:
        await channel.unary("/j/Echo", b"")
    assert (caught.value.code, caught.value.sent) == (Code.UNAVAILABLE, False)
    await channel.close()


async def test_a_closed_channel_refuses_calls(channel: Channel) -> None:
    await channel.unary("/j/Echo", b"")
    await channel.close()
    with pytest.raises(RpcError) as caught:
        await channel.unary("/j/Echo", b"")
    assert (caught.value.code, caught.value.sent) == (Code.CANCELLED, False)
