"""A client's calls: requests and answers as packets between a client's host and a member's, to the services as shipped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kvstore.api.local_call import LocalCall
from kvstore.rpc import Code

if TYPE_CHECKING:
    from chaos.sim.host import Host
    from chaos.sim.store import StoreWorld

__all__ = ["REFUSED", "Caller", "Ended"]

REFUSED = "connection refused"  # nobody listens: the request never left
Ended = Callable[[int, str, bytes], None]  # gRPC code, text, the answer's bytes


class Caller:
    """One client host. `certain` refusals never reached the member; what is late or lost is DEADLINE_EXCEEDED: unknown."""

    def __init__(self, world: StoreWorld, name: str) -> None:
        self.world, self.name = world, name

    def call(self, host: Host, path: str, request: bytes, timeout_seconds: float, ended: Ended) -> None:
        """Ask `host`; `ended` is called once."""
        is_open = True

        def finish(code: int, text: str, answer: bytes) -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                timer.cancel()
                ended(code, text, answer)

        timer = self.world.heap.after(timeout_seconds, lambda: finish(Code.DEADLINE_EXCEEDED, "late", b""))
        self._send(host, partial(self._serve, host, path, request, finish), finish)

    def _send(self, host: Host, serve: Callable[[], None], finish: Ended) -> None:
        def reach() -> None:
            process = host.process
            if process is None:
                self.world.network.send(host.name, self.name, "refused", lambda: finish(Code.UNAVAILABLE, REFUSED, b""),
                                        in_order=True)
            else:
                process.run(serve)

        self.world.network.send(self.name, host.name, "request", reach, in_order=True)

    def _serve(self, host: Host, path: str, request: bytes, finish: Ended) -> None:
        process = host.process
        assert process is not None
        answers: list[bytes] = []

        def on_end(code: int, text: str) -> None:
            process.boundaries.passed("answer sent")
            answer = answers[-1] if answers else b""
            self.world.network.send(host.name, self.name, "answer", lambda: finish(code, text, answer), in_order=True)

        call = LocalCall(path, {}, on_message=answers.append, on_end=on_end, peer=self.name)
        call.start(process.routes.get(path), [request])
