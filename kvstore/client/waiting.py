"""Waiting for the store to change: look at a revision, then follow from the next one; nothing is missed in between."""

from __future__ import annotations

from collections.abc import Callable

from kvstore.client.client import Client
from kvstore.client.errors import Compacted
from kvstore.pb import kv_pb2


def is_delete(event: kv_pb2.Event) -> bool:
    """Whether the event is the end of a key."""
    return event.type == kv_pb2.Event.DELETE


def is_put(event: kv_pb2.Event) -> bool:
    """Whether the event is a write."""
    return event.type == kv_pb2.Event.PUT


async def wait_for(
    client: Client, key: bytes, range_end: bytes, start_revision: int, wanted: Callable[[kv_pb2.Event], bool]
) -> None:
    """Return after the first event of [key, range_end) that is `wanted`, or when the history was compacted: look again then.

    Raises EtcdError when the watch cannot go on.
    """
    watch = client.watch(key, range_end, start_revision=start_revision)
    try:
        async for batch in watch:
            if any(wanted(event) for event in batch.events):
                return
    except Compacted:
        return
    finally:
        watch.cancel()
