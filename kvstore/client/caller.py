"""One unary call, wherever it ends up: endpoint, token, retries, typed errors.

Retried on another endpoint: reads, on Unavailable, when the first endpoint is silent for a quarter of the timeout, and when a
call was certainly not sent; writes, only when certainly not sent. The caller's timeout covers all tries.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from typing import Final

from kvstore.client import errors
from kvstore.client.endpoints import Endpoint, Endpoints
from kvstore.pb import rpc_pb2
from kvstore.rpc import Code, RpcError

AUTHENTICATE: Final = "/etcdserverpb.Auth/Authenticate"
RETRY_PAUSE_SECONDS: Final = 0.02  # before a read is tried again on a member that said Unavailable (an election runs)
SHORTEST_FIRST_TRY_SECONDS: Final = 2.0  # of a read, when there is another endpoint to ask
_SILENT_OR_UNABLE: Final = frozenset((Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED))
_RECONNECTABLE: Final = frozenset((Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN))


def take_exception(task: asyncio.Task[None]) -> None:
    """A shared task may fail after everyone who waited for it gave up: that is no error."""
    if not task.cancelled():
        task.exception()


class Caller:
    """The calls of one client."""

    def __init__(
        self,
        targets: Sequence[str],
        ssl_context: ssl.SSLContext | None,
        user: str | None,
        password: str | None,
        chance: random.Random,
        timeout_seconds: float,
    ) -> None:
        self.endpoints = Endpoints(targets, ssl_context, chance)
        self.timeout_seconds = timeout_seconds
        self.chance = chance
        self.is_closed = False
        self._user = user
        self._password = password or ""
        self._metadata: dict[str, str] | None = None
        self._authenticating: asyncio.Task[None] | None = None

    async def call(self, path: str, message: bytes, *, is_read: bool, timeout_seconds: float | None = None) -> bytes:
        """The answer of the cluster. Raises EtcdError."""
        if self._user is not None and self._metadata is None:
            await self.authenticate()
        endpoint = self.endpoints.current
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline = asyncio.get_running_loop().time() + seconds
        if is_read and seconds > SHORTEST_FIRST_TRY_SECONDS and len(self.endpoints) > 1:
            seconds = max(SHORTEST_FIRST_TRY_SECONDS, seconds / 4)
        try:
            answer = await endpoint.channel.unary(path, message, self._metadata, seconds)
        except RpcError as error:
            return await self._call_again(endpoint, path, message, error, is_read, deadline)
        if endpoint.failures:
            self.endpoints.on_success(endpoint)
        return answer

    async def call_endpoint(self, target: str, path: str, message: bytes, timeout_seconds: float | None = None) -> bytes:
        """The answer of one member, without retries. Raises EtcdError, KeyError for an unknown endpoint."""
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return await self.endpoints.named(target).channel.unary(path, message, self._metadata, seconds)
        except RpcError as error:
            raise errors.from_rpc(error) from None

    async def _call_again(
        self, endpoint: Endpoint, path: str, message: bytes, error: RpcError, is_read: bool, deadline: float
    ) -> bytes:
        loop = asyncio.get_running_loop()
        authenticated_again = False
        while True:
            failure = errors.from_rpc(error)
            if isinstance(failure, errors.Unauthenticated) and self._user is not None and not authenticated_again:
                authenticated_again = True
                self._metadata = None
                await self.authenticate()
            else:
                pause = self.on_failure(endpoint, error)
                retryable = not error.sent or (is_read and error.code in _SILENT_OR_UNABLE)
                if not retryable or self.is_closed or loop.time() + pause >= deadline:
                    raise failure from None
                await asyncio.sleep(pause)
            endpoint = self.endpoints.current
            try:
                answer = await endpoint.channel.unary(path, message, self._metadata, deadline - loop.time())
            except RpcError as next_error:
                error = next_error
                continue
            self.endpoints.on_success(endpoint)
            return answer

    def on_failure(self, endpoint: Endpoint, error: RpcError) -> float:
        """Take a failed call into account: move on from a member that cannot serve. Returns the pause before the next try."""
        if error.code == Code.DEADLINE_EXCEEDED:
            endpoint.channel.probe()  # watches on a dead connection should know soon
        if error.code in _SILENT_OR_UNABLE:
            return max(self.endpoints.on_failure(endpoint), RETRY_PAUSE_SECONDS if error.sent else 0.0)
        return 0.0

    @staticmethod
    def is_reconnectable(error: RpcError) -> bool:
        """Whether a stream that ended with this should be opened again (etcd's clients give up on anything else)."""
        return error.code in _RECONNECTABLE

    async def stream_metadata(self, *, require_leader: bool) -> dict[str, str]:
        """Metadata for a stream: the token, and the wish to be told when the member has no leader."""
        if self._user is not None and self._metadata is None:
            await self.authenticate()
        metadata = dict(self._metadata or {})
        if require_leader:
            metadata["hasleader"] = "true"
        return metadata

    async def authenticate(self) -> None:
        """Get a token; concurrent callers share one request. Raises EtcdError."""
        if self._authenticating is None:
            self._authenticating = asyncio.get_running_loop().create_task(self._authenticate())
            self._authenticating.add_done_callback(take_exception)
        task = self._authenticating
        try:
            await asyncio.shield(task)
        finally:
            if task.done():
                self._authenticating = None

    async def _authenticate(self) -> None:
        request = rpc_pb2.AuthenticateRequest(name=self._user or "", password=self._password).SerializeToString()
        endpoint = self.endpoints.current
        try:
            answer = await endpoint.channel.unary(AUTHENTICATE, request, None, self.timeout_seconds)
        except RpcError as error:
            self.on_failure(endpoint, error)
            raise errors.from_rpc(error) from None
        self._metadata = {"token": rpc_pb2.AuthenticateResponse.FromString(answer).token}

    async def close(self) -> None:
        """End everything."""
        self.is_closed = True
        await self.endpoints.close()
