"""Watchers of every kind: from now, from the past, from the future; filtered, slow, resumed; all they are told is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.sim.streams import ClientStream
from chaos.watching import Event, Response, Stream
from kvstore.pb.kv_pb2 import Event as EventMessage
from kvstore.pb.rpc_pb2 import WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["Watching"]

PATH = "/etcdserverpb.Watch/Watch"
PATIENCE_SECONDS = 4.0
ASK_SECONDS = 1.0
LIFE_SECONDS = 20.0  # in the mean, then the watcher begins anew
FUTURE = 30  # revisions
SLOW_SECONDS = 2.0


class Watching:
    """One watcher: one stream after another, each on a random member, going on where the last ended or somewhere else."""

    def __init__(self, world: StoreWorld, number: int) -> None:
        self._world = world
        self._name = world.watcher_names[number]
        self._random = world.random_for(self._name)
        self._is_slow = self._random.random() < 0.3
        self._next_revision = 0
        self._newest = 1  # revision that this watcher heard of
        self._stream: ClientStream | None = None
        self._record: Stream | None = None
        self._heard = 0.0
        self._is_stopped = False

    def start(self) -> None:
        """Begin the first stream, and look after it every second."""
        self._open()
        self._look()

    def stop(self) -> None:
        """End."""
        self._is_stopped = True
        if self._stream is not None:
            self._stream.break_off()

    def _open(self) -> None:
        if self._is_stopped:
            return
        world, random = self._world, self._random
        host = random.choice(world.hosts)
        start = random.choices((self._next_revision, 0, random.randrange(1, self._newest + 1), self._newest + FUTURE),
                               (6, 1, 2, 1))[0]
        first, end = random.choice((("register/", "register0"), ("register/0", ""), ("register/1", "register/3"), ("a", "\0")))
        record = Stream(
            self._name, host.name, first, end, start, with_previous=random.random() < 0.5,
            no_put=random.random() < 0.1, no_delete=random.random() < 0.1,
        )
        world.streams.append(record)
        self._record, self._heard, self._next_revision = record, world.heap.now, start
        self._stream = ClientStream(world, self._name, host, PATH, on_message=self._on_message, on_broken=self._on_broken,
                                    read_seconds=self._read_seconds)
        self._stream.send(WatchRequest(create_request=_create(record, random.random() < 0.3)).SerializeToString())
        world.heap.after(random.expovariate(1 / LIFE_SECONDS), self._stream.break_off)

    def _read_seconds(self) -> float:
        return self._random.random() * SLOW_SECONDS if self._is_slow else 0.0

    def _on_message(self, message: bytes) -> None:
        assert self._record is not None and self._stream is not None
        self._heard = self._world.heap.now
        response = _decode(WatchResponse.FromString(message))
        self._record.responses.append(response)
        self._world.note(self._name, "told", f"{response.revision} {len(response.events)}")
        self._newest = max(self._newest, response.revision)
        if response.is_created:
            self._next_revision = self._next_revision or response.revision + 1
        elif response.compact_revision:
            self._next_revision = response.compact_revision
            self._stream.break_off()
        elif response.events and not response.is_fragment:
            self._next_revision = max(self._next_revision, response.events[-1].revision + 1)
        elif response.is_progress:
            self._next_revision = max(self._next_revision, response.revision + 1)

    def _on_broken(self) -> None:
        self._world.heap.after(self._random.random(), self._open)

    def _look(self) -> None:
        """Ask how far the member is; leave one that has been silent for too long."""
        if self._is_stopped:
            return
        stream = self._stream
        if stream is not None and stream.is_open:
            if self._world.heap.now - self._heard > PATIENCE_SECONDS:
                stream.break_off()
            else:
                stream.send(WatchRequest(progress_request=WatchProgressRequest()).SerializeToString())
        self._world.heap.after(ASK_SECONDS, self._look)


def _create(record: Stream, wants_progress: bool) -> WatchCreateRequest:
    filters = [WatchCreateRequest.NOPUT] * record.no_put + [WatchCreateRequest.NODELETE] * record.no_delete
    return WatchCreateRequest(
        key=record.first_key.encode(), range_end=record.end_key.encode(), start_revision=record.start_revision,
        prev_kv=record.with_previous, filters=filters, progress_notify=wants_progress,
    )


def _decode(message: WatchResponse) -> Response:
    return Response(
        revision=message.header.revision,
        events=tuple(_event(event) for event in message.events),
        is_created=message.created,
        compact_revision=message.compact_revision,
        is_fragment=message.fragment,
    )


def _event(event: EventMessage) -> Event:
    """What is told of one change; a watcher that did not ask for the value before cannot tell it from none."""
    kv = event.kv
    return Event(
        revision=kv.mod_revision, key=kv.key.decode(), is_delete=event.type == EventMessage.DELETE, value=kv.value.decode(),
        create_revision=kv.create_revision, version=kv.version,
        previous=event.prev_kv.mod_revision if event.HasField("prev_kv") else None,
    )
