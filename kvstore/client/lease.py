"""Leases kept alive in the background: one keep-alive stream for all leases of a client.

A lease counts as held until its time to live has passed since the *sending* of the last renewal that the server confirmed: the
holder stops believing before the cluster does, whatever the clocks and the network do in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from kvstore.client import errors
from kvstore.client.caller import Caller, take_exception
from kvstore.client.endpoints import Endpoint
from kvstore.pb import rpc_pb2
from kvstore.rpc import ClientCall, Code, RpcError

KEEP_ALIVE: Final = "/etcdserverpb.Lease/LeaseKeepAlive"
REVOKE: Final = "/etcdserverpb.Lease/LeaseRevoke"
RENEWALS_PER_TTL: Final = 3
RETRY_SECONDS: Final = 0.2


class KeepAliveStream:
    """Renewals over one stream, opened when first needed and again after a loss. Answers come by lease id."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._call: ClientCall | None = None
        self._endpoint: Endpoint | None = None
        self._opening: asyncio.Task[None] | None = None
        self._waiting: dict[int, list[asyncio.Future[int]]] = {}

    async def renew(self, lease_id: int) -> int:
        """The new time to live in seconds; 0: the lease is gone. Raises EtcdError when the stream breaks."""
        if self._call is None:
            await self._open()
        call = self._call
        if call is None:
            raise errors.Unavailable(Code.UNAVAILABLE, "the keep-alive stream broke", sent=False)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lease_id, []).append(future)
        call.send(rpc_pb2.LeaseKeepAliveRequest(ID=lease_id).SerializeToString())
        return await future

    async def _open(self) -> None:
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open_once())
            self._opening.add_done_callback(take_exception)
        task = self._opening
        try:
            await asyncio.shield(task)
        finally:
            if task.done():
                self._opening = None

    async def _open_once(self) -> None:
        self._endpoint = endpoint = self._caller.endpoints.current
        try:
            metadata = await self._caller.stream_metadata(require_leader=True)
            self._call = await endpoint.channel.open(KEEP_ALIVE, metadata, self)
        except RpcError as error:
            self._caller.on_failure(endpoint, error)
            raise errors.from_rpc(error) from None

    def on_message(self, message: bytes) -> None:
        """One LeaseKeepAliveResponse: the oldest question about this lease is answered."""
        response = rpc_pb2.LeaseKeepAliveResponse.FromString(message)
        futures = self._waiting.get(response.ID)
        if not futures:
            return
        future = futures.pop(0)
        if not futures:
            del self._waiting[response.ID]
        if not future.done():
            future.set_result(response.TTL)

    def on_end(self, error: RpcError | None) -> None:
        """The stream is gone: whoever waits asks again."""
        self._call = None
        lost = error or RpcError(Code.UNAVAILABLE, "the server ended the keep-alive stream")
        if self._endpoint is not None:
            self._caller.on_failure(self._endpoint, lost)
        waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(errors.from_rpc(lost))

    def close(self) -> None:
        """End the stream."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


class Lease:
    """A lease that a background task renews until `revoke` (or until it is lost, which sets `lost`)."""

    def __init__(
        self,
        caller: Caller,
        stream: KeepAliveStream,
        lease_id: int,
        ttl_seconds: int,
        granted_at: float,
        on_over: Callable[[Lease], None],
    ) -> None:
        self.id = lease_id
        self.ttl_seconds = ttl_seconds
        self.lost = asyncio.Event()
        self._caller = caller
        self._on_over = on_over
        self._stream = stream
        self._expires_at = granted_at + ttl_seconds
        self._task = asyncio.get_running_loop().create_task(self._keep_alive())

    @property
    def is_held(self) -> bool:
        """Whether the lease certainly has not expired."""
        return not self.lost.is_set() and asyncio.get_running_loop().time() < self._expires_at

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self.ttl_seconds / RENEWALS_PER_TTL
        while True:
            await asyncio.sleep(pause)
            asked_at = loop.time()
            try:
                async with asyncio.timeout_at(self._expires_at):
                    ttl = await self._stream.renew(self.id)
            except (errors.EtcdError, TimeoutError):
                if loop.time() >= self._expires_at:
                    break
                pause = min(RETRY_SECONDS, self._expires_at - loop.time())
                continue
            if ttl <= 0:
                break
            self.ttl_seconds = ttl
            self._expires_at = asked_at + ttl
            pause = ttl / RENEWALS_PER_TTL
        self.lost.set()

    async def stop(self) -> None:
        """Renew no more; the lease expires by itself."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._on_over(self)

    async def revoke(self) -> None:
        """End the lease and delete its keys now. A lease that is gone already is no error."""
        await self.stop()
        request = rpc_pb2.LeaseRevokeRequest(ID=self.id).SerializeToString()
        try:
            await self._caller.call(REVOKE, request, is_read=True)  # revoking twice is harmless: retried like a read
        except errors.LeaseNotFound:
            pass
        finally:
            self.lost.set()

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.revoke()
