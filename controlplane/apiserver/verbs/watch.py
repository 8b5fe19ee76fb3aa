"""WATCH: a stream of events from the watch cache, one JSON line each.

resourceVersion unset      the state now (read from the store) as ADDED events, then what follows
resourceVersion=0          the same from the cache, perhaps a little old
resourceVersion=N          what came after N; `Expired` (410) in the stream when that is forgotten
sendInitialEvents=true     the state, then a bookmark annotated `k8s.io/initial-events-end`, then what follows
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.apiserver import negotiate, present
from controlplane.apiserver.context import Context, Result, SendChunk, Stream
from controlplane.apiserver.crd.view import served
from controlplane.apiserver.request import is_true
from controlplane.apiserver.selection import Selection, selection
from controlplane.apiserver.storage import codec
from controlplane.apiserver.storage.cache import TooOld, WatchCache
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.subscription import Subscription
from controlplane.apiserver.verbs import list_
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError, FieldError

BOOKMARK_BEFORE_END_SECONDS: Final = 2.0
FRAMES_BYTES: Final = 256 * 1024  # joined into one write at most
INITIAL_EVENTS_END: Final = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a watch request asks for."""

    revision: int | None
    initial: bool | None  # sendInitialEvents; None when absent
    bookmarks: bool
    timeout_seconds: float


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    if accepted.media_type == negotiate.YAML:
        raise status.not_acceptable([f"{each};stream=watch" for each in (negotiate.JSON, negotiate.PROTOBUF)])
    wanted = selection(context, resource)
    plan = _plan(context)
    cache = await context.services.caches.ready(resource, plan.revision or 0)
    encode = present.event_encoder(context, resource, accepted)
    subscription = Subscription(wanted.prefix, wanted.matcher(), wanted.pin)
    watch = _Watch(context, resource, wanted, plan, cache, subscription, encode)
    media_type = accepted.media_type + (";stream=watch" if accepted.stream else "")
    initial = await watch.begin()
    if accepted.media_type == negotiate.PROTOBUF:
        return Stream(lambda send: watch.run(_in_protobuf(send), initial), media_type=media_type)
    return Stream(lambda send: watch.run(send, initial), media_type=media_type)


def _plan(context: Context) -> Plan:
    query, services = context.query, context.services
    revision = list_.requested_revision(context)
    initial = is_true(query["sendInitialEvents"]) if query.get("sendInitialEvents") else None
    match = query.get("resourceVersionMatch", "")
    bookmarks = is_true(query.get("allowWatchBookmarks"))
    errors = []
    if initial is None and match:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        errors.append(FieldError.forbidden("resourceVersionMatch", why))
    if initial is not None and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors.append(FieldError.forbidden("resourceVersionMatch", why))
    if errors:
        raise status.invalid("ListOptions.meta.k8s.io", "", errors)
    try:
        seconds = float(query.get("timeoutSeconds") or 0)
    except ValueError as error:
        raise status.bad_request(f"invalid timeoutSeconds: {query.get('timeoutSeconds')}") from error
    if seconds <= 0:
        seconds = services.config.min_request_timeout_seconds * (1 + services.environment.random.random())
    return Plan(revision, initial, bookmarks, seconds)


class _Watch:
    """One watch from its first line to its last."""

    def __init__(
        self,
        context: Context,
        resource: Resource,
        wanted: Selection,
        plan: Plan,
        cache: WatchCache,
        subscription: Subscription,
        encode: Callable[[str, Entry], bytes],
    ) -> None:
        self._context = context
        self._resource = resource
        self._wanted = wanted
        self._plan = plan
        self._cache = cache
        self._subscription = subscription
        self._encode = encode
        self._told = 0  # everything up to this revision was sent or is not for this watcher

    async def begin(self) -> list[bytes]:
        """Subscribe; the answer is what goes first. Errors before the stream are plain answers."""
        plan = self._plan
        if plan.initial or (plan.initial is None and not plan.revision):
            entries = await served(self._context.services, self._resource, await self._state())
            frames = [self._encode("ADDED", entry) for entry in entries]
            if plan.initial and plan.bookmarks:
                frames.append(self._bookmark(INITIAL_EVENTS_END))
            return frames + self._subscribe(self._told)
        revision = plan.revision
        if revision is None:  # sendInitialEvents=false without a revision: from now on
            revision = await self._context.services.store.revision()
        elif revision > self._cache.revision:
            await list_.known_revision(self._context, revision)
        return self._subscribe(revision)

    async def _state(self) -> Sequence[Entry]:
        """The objects now; `_told` becomes their revision."""
        plan, cache = self._plan, self._cache
        if plan.revision is not None and plan.revision <= cache.revision:
            matches = self._wanted.matcher()
            self._told = cache.revision
            return [each for each in cache.entries(self._wanted.prefix) if matches is None or matches(each)]
        context = self._context
        if plan.revision:
            await list_.known_revision(context, plan.revision)
        listing = await list_.consistent(context, self._wanted)
        self._told = listing.revision
        return listing.entries

    def _subscribe(self, revision: int) -> list[bytes]:
        self._told = revision
        try:
            self._cache.subscribe(self._subscription, revision)
        except TooOld as error:
            self._subscription.end()
            refusal = status.expired(f"too old resource version: {revision} ({error.oldest})")
            return [_error_frame(refusal)]
        return []

    def _bookmark(self, annotations: dict[str, str] | None = None) -> bytes:
        metadata: codec.Object = {"resourceVersion": str(self._told)}
        if annotations:
            metadata["annotations"] = annotations
        document = {"kind": self._resource.kind, "apiVersion": self._resource.group_version, "metadata": metadata}
        return present.bookmark(self._context, self._resource, document)

    async def run(self, send: SendChunk, initial: list[bytes]) -> None:
        """Send until the client goes, the time is over, the server stops or the watcher is ended."""
        loop = asyncio.get_running_loop()
        services, subscription = self._context.services, self._subscription
        deadline = loop.time() + self._plan.timeout_seconds
        forget = self._context.connection.on_lost(subscription.end)
        leave = services.watchers.enter(subscription)
        subscription.on_overflow = self._context.connection.abort  # it is stuck in a write that nobody reads
        timers = _Timers(loop, subscription, deadline, services.config.watch_bookmark_seconds, self._plan.bookmarks)
        try:
            await _send_joined(send, initial)
            while not subscription.ended or subscription.pending:
                if not subscription.pending:
                    await subscription.wait()
                taken = subscription.take()
                if taken:
                    shown = await served(self._context.services, self._resource, [entry for _, entry in taken])
                    await _send_joined(send, [self._encode(kind, entry) for (kind, _), entry in zip(taken, shown)])
                    self._told = max(self._told, taken[-1][1].revision)
                if timers.bookmark_is_due and not subscription.ended:
                    await self._send_bookmark(send, timers)
                if loop.time() >= deadline or self._context.connection.is_lost:
                    break
        finally:
            timers.cancel()
            forget()
            leave()
            self._cache.unsubscribe(subscription)

    async def _send_bookmark(self, send: SendChunk, timers: _Timers) -> None:
        timers.bookmark_is_due = False
        if not self._subscription.pending and self._cache.revision >= self._told:
            self._told = self._cache.revision
        await send(self._bookmark())
        await self._cache.ask_progress()


class _Timers:
    """Wakes a watch for its bookmarks and its end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        subscription: Subscription,
        deadline: float,
        bookmark_seconds: float,
        bookmarks: bool,
    ) -> None:
        self._loop = loop
        self._subscription = subscription
        self._seconds = bookmark_seconds
        self.bookmark_is_due = False
        self._handles = [loop.call_at(deadline, subscription.wake)]
        if bookmarks:
            self._handles.append(loop.call_later(bookmark_seconds, self._tick))
            before_end = deadline - BOOKMARK_BEFORE_END_SECONDS
            if before_end > loop.time():
                self._handles.append(loop.call_at(before_end, self._due))

    def _due(self) -> None:
        self.bookmark_is_due = True
        self._subscription.wake()

    def _tick(self) -> None:
        self._due()
        self._handles[1] = self._loop.call_later(self._seconds, self._tick)

    def cancel(self) -> None:
        for handle in self._handles:
            handle.cancel()


def _error_frame(error: ApiError) -> bytes:
    return codec.encode_json({"type": "ERROR", "object": error.status()}) + b"\n"


def _in_protobuf(send: SendChunk) -> SendChunk:
    """Lines go in, frames go out: for the few clients that accept nothing else."""

    async def send_frames(lines: bytes) -> None:
        await send(negotiate.watch_frames(lines))

    return send_frames


async def _send_joined(send: SendChunk, frames: list[bytes]) -> None:
    """Several lines in one write, but no write larger than FRAMES_BYTES (or one line)."""
    batch: list[bytes] = []
    size = 0
    for frame in frames:
        if batch and size + len(frame) > FRAMES_BYTES:
            await send(b"".join(batch))
            batch, size = [], 0
        batch.append(frame)
        size += len(frame)
    if batch:
        await send(b"".join(batch))
