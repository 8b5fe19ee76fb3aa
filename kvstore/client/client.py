"""The client: etcd's requests as methods.  Every method raises EtcdError (kvstore.client.errors).

Retries: *reads* are tried again on another member until the timeout; *writes* only when the request certainly never left
this process (`EtcdError.sent` is False then), so nothing is done twice. Where the outcome of a write cannot be known the error
says so: `EtcdError.is_unknown`. Each method's docstring says which of the two it is.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

from kvstore.client import ops, streams
from kvstore.client.caller import Caller
from kvstore.client.errors import from_status
from kvstore.client.lease import REVOKE, KeepAliveStream, Lease
from kvstore.client.streams import PAGE_KEYS
from kvstore.client.watch import Watch
from kvstore.pb import kv_pb2, rpc_pb2
from kvstore.rpc import Code

RANGE: Final = "/etcdserverpb.KV/Range"
PUT: Final = "/etcdserverpb.KV/Put"
DELETE_RANGE: Final = "/etcdserverpb.KV/DeleteRange"
TXN: Final = "/etcdserverpb.KV/Txn"
COMPACT: Final = "/etcdserverpb.KV/Compact"
LEASE_GRANT: Final = "/etcdserverpb.Lease/LeaseGrant"
LEASE_TIME_TO_LIVE: Final = "/etcdserverpb.Lease/LeaseTimeToLive"
LEASE_LEASES: Final = "/etcdserverpb.Lease/LeaseLeases"
MEMBER_LIST: Final = "/etcdserverpb.Cluster/MemberList"
STATUS: Final = "/etcdserverpb.Maintenance/Status"

DEFAULT_TIMEOUT_SECONDS: Final = 10.0  # a little more than a server's own limit of 7 s

ResponseT = TypeVar("ResponseT", covariant=True)


class MessageType(Protocol[ResponseT]):
    """A generated message class."""

    def FromString(self, s: bytes, /) -> ResponseT:
        """Decode."""


class Message(Protocol):
    """A generated message."""

    def SerializeToString(self) -> bytes:
        """Encode."""


class Client:
    """A client of one cluster. Made anywhere, used on one loop; thousands of calls may be in flight."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ssl_context: ssl.SSLContext | None = None,
        user: str | None = None,
        password: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        chance: random.Random | None = None,
    ) -> None:
        self._caller = Caller(endpoints, ssl_context, user, password, chance or random.Random(), timeout_seconds)
        self._keep_alive = KeepAliveStream(self._caller)
        self._call = self._caller.call
        self._watches: dict[Watch, None] = {}
        self._leases: dict[Lease, None] = {}

    @property
    def endpoints(self) -> list[str]:
        """The addresses, as given."""
        return self._caller.endpoints.targets

    # Keys and values.

    async def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        limit: int = 0,
        revision: int = 0,
        sort_order: rpc_pb2.RangeRequest.SortOrder = rpc_pb2.RangeRequest.NONE,
        sort_target: rpc_pb2.RangeRequest.SortTarget = rpc_pb2.RangeRequest.KEY,
        serializable: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        timeout_seconds: float | None = None,
    ) -> rpc_pb2.RangeResponse:
        """Keys of [key, range_end), as the fields of etcd's RangeRequest say. A read: retried."""
        request = rpc_pb2.RangeRequest(
            key=key,
            range_end=range_end,
            limit=limit,
            revision=revision,
            sort_order=sort_order,
            sort_target=sort_target,
            serializable=serializable,
            keys_only=keys_only,
            count_only=count_only,
            min_mod_revision=min_mod_revision,
            max_mod_revision=max_mod_revision,
            min_create_revision=min_create_revision,
            max_create_revision=max_create_revision,
        )
        answer = await self._call(RANGE, request.SerializeToString(), is_read=True, timeout_seconds=timeout_seconds)
        return rpc_pb2.RangeResponse.FromString(answer)

    def range_stream(
        self,
        key: bytes,
        range_end: bytes,
        *,
        page_keys: int = PAGE_KEYS,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
    ) -> AsyncIterator[rpc_pb2.RangeResponse]:
        """All keys of [key, range_end), in order, in pages of one revision (0: the present), whatever is written meanwhile.

        Reads: retried. Raises Compacted when the history is forgotten before the last page.
        """
        return streams.pages(self, key, range_end, page_keys, revision, serializable, keys_only)

    async def get(
        self, key: bytes, *, revision: int = 0, serializable: bool = False, timeout_seconds: float | None = None
    ) -> kv_pb2.KeyValue | None:
        """One key, or None. A read: retried."""
        request = rpc_pb2.RangeRequest(key=key, revision=revision, serializable=serializable).SerializeToString()
        answer = await self._call(RANGE, request, is_read=True, timeout_seconds=timeout_seconds)
        kvs = rpc_pb2.RangeResponse.FromString(answer).kvs
        return kvs[0] if kvs else None

    async def put(
        self,
        key: bytes,
        value: bytes,
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout_seconds: float | None = None,
    ) -> rpc_pb2.PutResponse:
        """Write one key. A write: retried only when it never left."""
        request = rpc_pb2.PutRequest(
            key=key, value=value, lease=lease, prev_kv=prev_kv, ignore_value=ignore_value, ignore_lease=ignore_lease
        )
        answer = await self._call(PUT, request.SerializeToString(), is_read=False, timeout_seconds=timeout_seconds)
        return rpc_pb2.PutResponse.FromString(answer)

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False, timeout_seconds: float | None = None
    ) -> rpc_pb2.DeleteRangeResponse:
        """Delete the keys of [key, range_end). A write: retried only when it never left."""
        request = rpc_pb2.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv).SerializeToString()
        answer = await self._call(DELETE_RANGE, request, is_read=False, timeout_seconds=timeout_seconds)
        return rpc_pb2.DeleteRangeResponse.FromString(answer)

    async def txn(
        self,
        compares: Iterable[rpc_pb2.Compare],
        success: Iterable[rpc_pb2.RequestOp] = (),
        failure: Iterable[rpc_pb2.RequestOp] = (),
        *,
        timeout_seconds: float | None = None,
    ) -> rpc_pb2.TxnResponse:
        """If all compares hold then `success` else `failure`, in one revision (builders: kvstore.client.ops).

        A read when neither branch writes: retried. Else a write: retried only when it never left.
        """
        request = rpc_pb2.TxnRequest(compare=compares, success=success, failure=failure)
        is_read = not ops.writes(request)
        answer = await self._call(TXN, request.SerializeToString(), is_read=is_read, timeout_seconds=timeout_seconds)
        return rpc_pb2.TxnResponse.FromString(answer)

    async def compact(self, revision: int, physical: bool = False) -> rpc_pb2.CompactionResponse:
        """Forget the history below `revision`; with `physical`, return when it is gone from the disk. A write."""
        request = rpc_pb2.CompactionRequest(revision=revision, physical=physical).SerializeToString()
        return rpc_pb2.CompactionResponse.FromString(await self._call(COMPACT, request, is_read=False))

    # Watches.

    def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        progress_notify: bool = False,
        filters: Sequence[rpc_pb2.WatchCreateRequest.FilterType] = (),
        fragment: bool = False,
    ) -> Watch:
        """Follow the keys of [key, range_end), from `start_revision` or (0) from the moment that `started()` tells."""
        create = rpc_pb2.WatchCreateRequest(
            key=key,
            range_end=range_end,
            start_revision=start_revision,
            prev_kv=prev_kv,
            progress_notify=progress_notify,
            filters=filters,
            fragment=fragment,
        )
        watch = Watch(self._caller, create, self._forget_watch)
        self._watches[watch] = None
        return watch

    async def request_progress(self) -> None:
        """Ask for a progress batch on every watch of this client."""
        for watch in list(self._watches):
            await watch.request_progress()

    # Leases.

    async def lease_grant(self, ttl_seconds: int, lease_id: int = 0) -> rpc_pb2.LeaseGrantResponse:
        """A lease; `lease_id` 0 lets the server choose. The TTL granted may be longer than asked. A write.

        After an unknown outcome a lease may be there that nobody renews: it expires by itself.
        """
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_seconds, ID=lease_id).SerializeToString()
        response = rpc_pb2.LeaseGrantResponse.FromString(await self._call(LEASE_GRANT, request, is_read=False))
        if response.error:
            raise from_status(Code.UNKNOWN, response.error)
        return response

    async def lease_revoke(self, lease_id: int) -> rpc_pb2.LeaseRevokeResponse:
        """End a lease; its keys are deleted. Raises LeaseNotFound. A write."""
        request = rpc_pb2.LeaseRevokeRequest(ID=lease_id).SerializeToString()
        return rpc_pb2.LeaseRevokeResponse.FromString(await self._call(REVOKE, request, is_read=False))

    async def lease_time_to_live(self, lease_id: int, keys: bool = False) -> rpc_pb2.LeaseTimeToLiveResponse:
        """Seconds left (TTL -1: no such lease), and with `keys` the keys attached. A read: retried."""
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id, keys=keys).SerializeToString()
        return rpc_pb2.LeaseTimeToLiveResponse.FromString(await self._call(LEASE_TIME_TO_LIVE, request, is_read=True))

    async def leases(self) -> rpc_pb2.LeaseLeasesResponse:
        """All leases. A read: retried."""
        return rpc_pb2.LeaseLeasesResponse.FromString(await self._call(LEASE_LEASES, b"", is_read=True))

    async def lease_keep_alive(self, lease_id: int) -> int:
        """Renew once: the new time to live in seconds. Not retried; asking again is harmless. Raises LeaseNotFound."""
        async with asyncio.timeout(self._caller.timeout_seconds):
            ttl = await self._keep_alive.renew(lease_id)
        if ttl <= 0:
            raise from_status(Code.NOT_FOUND, "etcdserver: requested lease not found")
        return ttl

    async def lease(self, ttl_seconds: int, lease_id: int = 0) -> Lease:
        """A lease that is renewed in the background until its `revoke`."""
        asked_at = asyncio.get_running_loop().time()
        granted = await self.lease_grant(ttl_seconds, lease_id)
        lease = Lease(self._caller, self._keep_alive, granted.ID, granted.TTL, asked_at, self._forget_lease)
        self._leases[lease] = None
        return lease

    # The cluster.

    async def status(self, endpoint: str | None = None) -> rpc_pb2.StatusResponse:
        """The state of the member at `endpoint` (one of the client's; not retried), or of the current one (retried)."""
        if endpoint is None:
            return rpc_pb2.StatusResponse.FromString(await self._call(STATUS, b"", is_read=True))
        return rpc_pb2.StatusResponse.FromString(await self._caller.call_endpoint(endpoint, STATUS, b""))

    async def member_list(self, linearizable: bool = True) -> rpc_pb2.MemberListResponse:
        """The members. A read: retried."""
        request = rpc_pb2.MemberListRequest(linearizable=linearizable).SerializeToString()
        return rpc_pb2.MemberListResponse.FromString(await self._call(MEMBER_LIST, request, is_read=True))

    async def snapshot(self, path: str | Path) -> int:
        """Save one member's data to a file, in etcd's format, checked and whole or not at all; its size in bytes.

        `pilothouse kv restore` and `etcdutl snapshot restore` take it. Not retried; asking again is harmless.
        """
        return await streams.save(self._caller, Path(path))

    async def request(
        self,
        path: str,
        message: Message,
        response_type: MessageType[ResponseT],
        *,
        is_read: bool = False,
        timeout_seconds: float | None = None,
    ) -> ResponseT:
        """Any other unary method, e.g. ("/etcdserverpb.Maintenance/Alarm", AlarmRequest(...), AlarmResponse).

        Retried like a read when `is_read`: say so only of what may happen twice.
        """
        answer = await self._call(path, message.SerializeToString(), is_read=is_read, timeout_seconds=timeout_seconds)
        return response_type.FromString(answer)

    def _forget_watch(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def _forget_lease(self, lease: Lease) -> None:
        self._leases.pop(lease, None)

    async def close(self) -> None:
        """Cancel the watches, stop the renewals (leases then expire by themselves), close the connections."""
        for watch in list(self._watches):
            watch.cancel()
        for lease in list(self._leases):
            await lease.stop()
        self._keep_alive.close()
        await self._caller.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
