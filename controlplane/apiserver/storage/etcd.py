"""`Backend` on any etcd v3 cluster: the one file of the API server that meets `kvstore.client`."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from controlplane.apiserver.storage.backend import (
    Change,
    Changes,
    Expect,
    Outcome,
    OutcomeUnknown,
    Page,
    Put,
    RevisionCompacted,
    Row,
)
from controlplane.apiserver.storage.reads import Reads
from controlplane.objects import status
from kvstore.client import Client, Compacted, DeadlineExceeded, EtcdError, FutureRevision, Unavailable
from kvstore.client.errors import RequestTooLarge
from kvstore.pb import rpc_pb2

WRITE: Final = "write"


@contextmanager
def _translated(operation: str) -> Iterator[None]:
    """The store's failures as the API's: retry-able ones are 503 with Retry-After, unknown outcomes are 504."""
    try:
        yield
    except RequestTooLarge as error:
        raise status.request_entity_too_large(str(error)) from error
    except Compacted as error:
        raise RevisionCompacted(int(getattr(error, "compact_revision", 0) or 0)) from error
    except FutureRevision as error:
        raise status.too_large_resource_version(0, 0) from error
    except (DeadlineExceeded, Unavailable) as error:
        if operation == WRITE and error.sent:
            raise OutcomeUnknown(str(error)) from error
        raise status.service_unavailable(f"the store is not available: {error}", 1) from error
    except EtcdError as error:
        raise status.internal_error(str(error)) from error


def _tells_progress(version: str) -> bool:
    """Whether an etcd of this version tells progress after the events before it (etcd 15220: not before 3.4.31, 3.5.13)."""
    major, minor, patch = (int(part) for part in (*version.split("-")[0].split("."), "0", "0")[:3])
    return (major, minor, patch) >= {4: (3, 4, 31), 5: (3, 5, 13)}.get(minor, (3, 6, 0))


def _row(pair: Any) -> Row:
    return Row(pair.key, pair.value, pair.mod_revision, pair.create_revision, pair.lease)


def _compare(expect: Expect) -> rpc_pb2.Compare:
    return rpc_pb2.Compare(
        key=expect.key,
        target=rpc_pb2.Compare.CompareTarget.MOD,
        result=rpc_pb2.Compare.CompareResult.EQUAL,
        mod_revision=expect.revision,
    )


class EtcdWatching:
    """One watch of the store; ends with RevisionCompacted when history is gone."""

    def __init__(self, client: Client, start: bytes, end: bytes, after_revision: int) -> None:
        self._watch = client.watch(start, end, start_revision=after_revision + 1, progress_notify=True)

    async def __aiter__(self) -> AsyncIterator[Changes]:
        with _translated("watch"):
            async for batch in self._watch:
                events = tuple(
                    Change(event.kv.key, event.kv.value, event.kv.mod_revision, event.type == 1)
                    for event in batch.events
                )
                yield Changes(batch.revision, events)

    async def request_progress(self) -> None:
        await self._watch.request_progress()

    def cancel(self) -> None:
        self._watch.cancel()


class EtcdBackend:
    """Rows of an etcd cluster; `endpoints` are `host:port` or URLs."""

    def __init__(self, endpoints: Sequence[str], ssl_context: ssl.SSLContext | None = None) -> None:
        self._client = Client(list(endpoints), ssl_context=ssl_context)
        self._reads = Reads(self._client)
        self._tells_progress: bool | None = None

    async def get(self, key: bytes) -> tuple[Row | None, int]:
        with _translated("get"):
            pair, revision = await self._reads.ask(key)
        return (None if pair is None else _row(pair)), revision

    async def modified(self, key: bytes) -> int:
        with _translated("get"):
            pair, _ = await self._reads.ask(key, keys_only=True)
        return 0 if pair is None else int(pair.mod_revision)

    async def page(self, start: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Page:
        with _translated("list"):
            answer = await self._client.range(start, end, limit=limit, revision=revision)
        rows = tuple(map(_row, answer.kvs))
        return Page(rows, revision or answer.header.revision, answer.more, answer.count)

    async def commit(
        self, expected: Sequence[Expect], puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> Outcome:
        success = [
            rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=put.key, value=put.value, lease=put.lease))
            for put in puts
        ]
        success += [rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key)) for key in deletes]
        failure = [
            rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=expect.key, limit=1)) for expect in expected
        ]
        with _translated(WRITE):
            answer = await self._client.txn([_compare(expect) for expect in expected], success, failure)
        if answer.succeeded:
            return Outcome(True, answer.header.revision)
        rows = tuple(_row(each.response_range.kvs[0]) if each.response_range.kvs else None for each in answer.responses)
        return Outcome(False, answer.header.revision, rows)

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> EtcdWatching:
        return EtcdWatching(self._client, start, end, after_revision)

    async def tells_progress(self) -> bool:
        if self._tells_progress is None:
            with _translated("status"):
                answer = await self._client.status()
            self._tells_progress = _tells_progress(answer.version)
        return self._tells_progress

    async def grant_lease(self, ttl_seconds: int) -> int:
        with _translated("lease"):
            answer: Any = await self._client.lease_grant(ttl_seconds)
        return int(getattr(answer, "ID", answer))

    async def keep_lease_alive(self, lease: int) -> int:
        with _translated("lease"):
            return int(await self._client.lease_keep_alive(lease))

    async def revoke_lease(self, lease: int) -> None:
        with _translated("lease"):
            await self._client.lease_revoke(lease)

    async def compact(self, revision: int) -> None:
        with _translated("compact"):
            await self._client.compact(revision)

    async def close(self) -> None:
        await self._client.close()
        await self._reads.close()
