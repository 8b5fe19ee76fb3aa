"""gRPC over HTTP/2 (RFC 9113, gRPC's PROTOCOL-HTTP2), small and complete; proved by grpcio, etcdctl and h2load.

    frames.py       frame codec, sans-IO                hpack_decoder.py, hpack_memo.py  header blocks, and their memo
    connection.py   one HTTP/2 connection, sans-IO      messages.py    the five-byte gRPC prefix, gzip
    streams.py      stream halves and flow control      status.py      gRPC codes, percent-encoding, grpc-timeout
    limits.py       every limit by name                 deadlines.py   many deadlines, few timers
    server_connection.py, call.py     the server's end  client_connection.py   the client's end (both sans-IO)
    server.py       asyncio.Protocol on a connection    http1.py       HTTP/1.1 on the same port (health, metrics, gateway)
    channel.py, client_stream.py, inbox.py  client side   web_exchange.py  the same for HTTP/2 requests that are not gRPC
    peer_settings.py   what the peer's SETTINGS change     websocket.py     what an HTTP/1.1 connection may become

Server side
    server = Server({"/etcdserverpb.KV/Put": Unary(put), "/etcdserverpb.Watch/Watch": Streaming(watch)}, http1=handler,
                    limits=Limits())
    await server.start(host, port, ssl_context=None); server.port; await server.stop(grace_seconds)
    Unary(handler):      handler(call: Call, message: bytes) -> None; answers now or later with call.reply(bytes) or
                         call.fail(code, text)
    Streaming(handler):  handler(call: Call) -> Receiver with on_message(bytes), on_half_close(), on_cancel()
    Call:  path, metadata: dict[str, str] (lower-case names; shared, read only), peer: str,
           client_certificate: bytes | None (DER),
           deadline: float | None (loop time), send(bytes), finish(), fail(code, text), reply(bytes) = send + finish, send_head(),
           pending_bytes (queued, not yet accepted by the peer's window), on_drain(callback),
           hold()/release() (give the client no more window / again),
           on_cancel(callback) (for unary handlers that wait), is_open
           After its end all methods of a call do nothing. Past its deadline a call is failed and its receiver told on_cancel.
    http1: handler(Http1Request(method, path, query, headers, body)) -> Http1Answer | Awaitable[Http1Answer]; an Http1Answer is an
           Http1Response, or a WebSocketResponse to a request with a `websocket_key`
Client side
    channel = Channel("127.0.0.1:2379", ssl_context=None)
    await channel.unary(path, message, metadata=None, timeout=None) -> bytes      raises RpcError(code, text, metadata)
    stream = channel.stream(path, metadata=None): send(bytes), half_close(), cancel(), async iteration over messages; or
    await channel.open(path, metadata, receiver) -> ClientCall with callbacks on_message(bytes) / on_end(RpcError | None)
           for code that must not pay for a task
    channel.probe() (ping now; no answer: all its calls end); await channel.close()
    RpcError.sent: False when it is certain that the request never left (safe to retry), else True.
Metadata values: str, or bytes for `-bin` names (base64 is done here on the way out; on the way in `decode_binary(value)`).
Handlers are plain functions: no task is made for a call. All waits go through the running loop.
"""

from kvstore.rpc.call import Call, Receiver, Streaming, Tally, Unary
from kvstore.rpc.channel import Channel
from kvstore.rpc.client_connection import CallReceiver, ClientCall
from kvstore.rpc.client_stream import ClientStream
from kvstore.rpc.http1 import Http1Answer, Http1Handler, Http1Request, Http1Response
from kvstore.rpc.inbox import Inbox
from kvstore.rpc.limits import Limits
from kvstore.rpc.server import Server
from kvstore.rpc.status import Code, RpcError, decode_binary, encode_binary
from kvstore.rpc.websocket import WebSocketResponse

__all__ = [
    "Call",
    "CallReceiver",
    "Channel",
    "ClientCall",
    "ClientStream",
    "Code",
    "Http1Answer",
    "Http1Handler",
    "Http1Request",
    "Http1Response",
    "Inbox",
    "Limits",
    "Receiver",
    "RpcError",
    "Server",
    "Streaming",
    "Tally",
    "Unary",
    "WebSocketResponse",
    "decode_binary",
    "encode_binary",
]
