"""HTTP for the ASGI application: what uvicorn would do, for a fifth of its cost and without its limits.

    listener.py   the port: accepts, sweeps idle connections, stops in good order; HttpServer
    tls.py        TLS over a transport, one copy of each byte, no buffers while nothing is in flight
    http1.py      HTTP/1.1: keep-alive, pipelining, chunks, Expect, upgrades        head.py   heads of requests and answers
    http2.py      HTTP/2 on kvstore.rpc's connection: one connection carries all requests and watches of a client
    exchange.py   one request as ASGI sees it: scope, receive, send

The protocol is chosen by ALPN (h2, http/1.1; who offers none speaks HTTP/1.1). A connection holds little while its watches
are silent: no task but the watch's own, no timer (one sweep of the listener serves all), no TLS buffers.
"""

from controlplane.apiserver.http.listener import HttpServer, tls_context

__all__ = ["HttpServer", "tls_context"]
