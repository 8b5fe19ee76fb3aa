"""gRPC over HTTP/2 (RFC 9113, gRPC's PROTOCOL-HTTP2), small and complete; proved by grpcio, etcdctl and h2load.

    frames.py       frame codec, sans-IO                hpack_memo.py  header blocks remembered, over the `hpack` package
    connection.py   one HTTP/2 connection, sans-IO      messages.py    the five-byte gRPC prefix, gzip
    streams.py      stream states and flow control      status.py      gRPC codes, percent-encoding, grpc-timeout
    server.py       asyncio.Protocol on a connection    http1.py       HTTP/1.1 on the same port (health, metrics, gateway)
    channel.py      the client side

Server side
    server = Server({"/etcdserverpb.KV/Put": Unary(put), "/etcdserverpb.Watch/Watch": Streaming(watch)}, http1=handler)
    await server.start(host, port, ssl_context=None); server.port; await server.stop(grace_seconds)
    Unary(handler):      handler(call: Call, message: bytes) -> None; answers now or later with call.reply(bytes) or call.fail(code, text)
    Streaming(handler):  handler(call: Call) -> Receiver with on_message(bytes), on_half_close(), on_cancel()
    Call:  path, metadata: dict[str, str] (lower-case names), peer: str, client_certificate: bytes | None (DER),
           deadline: float | None (loop time), send(bytes), finish(), fail(code, text), reply(bytes) = send + finish,
           pending_bytes (queued, not yet accepted by the peer's window), on_drain(callback)
    http1: handler(Http1Request(method, path, query, headers, body)) -> Http1Response | Awaitable[Http1Response]
Client side
    channel = Channel("127.0.0.1:2379", ssl_context=None)
    await channel.unary(path, message, metadata=None, timeout=None) -> bytes      raises RpcError(code, text, metadata)
    stream = channel.stream(path, metadata=None): send(bytes), half_close(), cancel(), async iteration over messages; or
    channel.open(path, metadata, receiver) with callbacks on_message / on_end(status) for code that must not pay for a task
    await channel.close()
    RpcError.sent: False when it is certain that the request never left (safe to retry), else True.
Handlers are plain functions: no task is made for a call. All waits go through the running loop.
"""
