"""Our two ends against each other, sans-IO: whatever the windows, the cuts and the pauses, every byte arrives, in order, once."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from kvstore.rpc import Limits
from kvstore.rpc.client_connection import ClientCall, ClientConnection
from kvstore.rpc.hpack_memo import encode_fields
from kvstore.rpc.server_connection import ServerConnection
from tests.kvstore.rpc.wire import Outcome, ServerWire


@dataclass(frozen=True)
class Sizes:
    """Limits of one end, small enough to matter."""

    stream_window: int
    connection_window: int
    turn: int

    def limits(self) -> Limits:
        return Limits(
            stream_window_bytes=self.stream_window,
            connection_window_bytes=max(self.connection_window, 65_535),
            write_turn_bytes=self.turn,
            message_bytes=10**6,
            concurrent_streams=4,
        )


HEAD = encode_fields(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t/Stream"), (b"content-type", b"application/grpc")]
)
SIZES = st.builds(
    Sizes, st.sampled_from([1, 7, 1_000, 65_535, 200_000]), st.sampled_from([65_535, 100_000]), st.sampled_from([1, 500, 10**6])
)


class Pair:
    """A client and a server with two pipes between them."""

    def __init__(self, client_sizes: Sizes, server_sizes: Sizes) -> None:
        self.server_wire = ServerWire(server_sizes.limits(), greet=False)
        self.server: ServerConnection = self.server_wire.connection
        self.client = ClientConnection(client_sizes.limits(), lambda: 0.0, lambda: None, lambda call, deadline: {})
        self.to_server = b""
        self.to_client = b""
        self.calls: list[tuple[ClientCall, Outcome]] = []
        self.steps = 0
        while not self.client.has_room or self.client.peer_concurrent_streams > 10:  # until the server's SETTINGS came
            self.carry(10**6)

    def carry(self, size: int) -> bool:
        """Move up to `size` bytes each way; whether anything moved."""
        self.steps += 1
        self.to_server += self.client.take_output()
        self.to_client += self.server.take_output()
        self.client.pump()
        self.server.pump()
        to_server, self.to_server = self.to_server[:size], self.to_server[size:]
        to_client, self.to_client = self.to_client[:size], self.to_client[size:]
        self.server.receive(to_server)
        self.client.receive(to_client)
        assert not self.server.is_closing
        assert not self.client.is_closing
        return bool(to_server or to_client)

    def open(self) -> None:
        """Start a streaming echo, if the server takes one more."""
        if self.client.has_room:
            outcome = Outcome()
            self.calls.append((self.client.open(HEAD, outcome), outcome))

    def settle(self) -> None:
        """Carry until nothing moves."""
        self.client.set_writable(True)
        self.server.set_writable(True)
        for call, _ in self.calls:
            call.release()
        idle = 0
        while idle < 3:
            idle = 0 if self.carry(10**6) else idle + 1
            assert self.steps < 500_000


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.just(0)),
        st.tuples(st.just("send"), st.integers(0, 3_000)),
        st.tuples(st.just("send"), st.integers(0, 100_000)),
        st.tuples(st.just("carry"), st.integers(1, 50_000)),
        st.tuples(st.just("close"), st.integers(0, 5)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("client writable"), st.integers(0, 1)),
        st.tuples(st.just("server writable"), st.integers(0, 1)),
        st.tuples(st.just("hold"), st.integers(0, 5)),
        st.tuples(st.just("release"), st.integers(0, 5)),
    ),
    max_size=30,
)


def act(pair: Pair, kind: str, value: int, sent: dict[int, list[bytes]], cancelled: set[int]) -> None:
    """One action of a test, on the call that `value` chooses."""
    if kind == "open":
        pair.open()
    elif kind == "carry":
        pair.carry(value)
    elif kind.endswith("writable"):
        (pair.client if kind.startswith("client") else pair.server).set_writable(bool(value))
    elif pair.calls:
        number = value % len(pair.calls)
        call, _ = pair.calls[number]
        if kind == "send":
            message = bytes([value % 251]) * value
            if not call.local_closed and call._trailers is None:
                sent.setdefault(number, []).append(message)
            call.send(message)
        elif kind == "close":
            call.half_close()
        elif kind == "cancel":
            cancelled.add(number)
            call.cancel()
        elif kind == "hold":
            call.hold()
        elif kind == "release":
            call.release()


@given(SIZES, SIZES, ACTIONS)
def test_every_message_comes_back_once_and_in_order(client: Sizes, server: Sizes, actions: list[tuple[str, int]]) -> None:
    pair = Pair(client, server)
    pair.open()
    sent: dict[int, list[bytes]] = {}
    cancelled: set[int] = set()
    for kind, value in actions:
        act(pair, kind, value, sent, cancelled)
    for call, _ in pair.calls:
        call.half_close()
    pair.settle()
    for number, (_, outcome) in enumerate(pair.calls):
        assert outcome.ended
        if number not in cancelled:
            assert outcome.error is None
            assert outcome.messages == sent.get(number, [])
    assert pair.client.streams == {}
    assert pair.server.streams == {}
    assert pair.server.unfinished_bytes == 0
    assert pair.client.blocked == pair.server.blocked == {}
