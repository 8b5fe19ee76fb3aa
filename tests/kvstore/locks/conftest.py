"""A server over a fake member, and the lock and election calls on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kvstore.pb import election_pb2 as election
from kvstore.pb import lock_pb2
from kvstore.pb import rpc_pb2 as rpc
from tests.kvstore.api.calls import call
from tests.kvstore.api.fake_member import FakeServer


class Clients:
    """What several clients ask of one server."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.channel = server.channel

    async def grant(self, lease: int, ttl_seconds: int = 100) -> int:
        await call(self.channel, "Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=lease, TTL=ttl_seconds))
        return lease

    async def revoke(self, lease: int) -> None:
        await call(self.channel, "Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease))

    async def lock(self, name: bytes, lease: int = 0) -> lock_pb2.LockResponse:
        request = lock_pb2.LockRequest(name=name, lease=lease).SerializeToString()
        return lock_pb2.LockResponse.FromString(await self.channel.unary("/v3lockpb.Lock/Lock", request))

    async def unlock(self, key: bytes) -> lock_pb2.UnlockResponse:
        request = lock_pb2.UnlockRequest(key=key).SerializeToString()
        return lock_pb2.UnlockResponse.FromString(await self.channel.unary("/v3lockpb.Lock/Unlock", request))

    async def campaign(self, name: bytes, lease: int, value: bytes = b"") -> election.CampaignResponse:
        request = election.CampaignRequest(name=name, lease=lease, value=value).SerializeToString()
        return election.CampaignResponse.FromString(
            await self.channel.unary("/v3electionpb.Election/Campaign", request)
        )

    async def proclaim(self, leader: election.LeaderKey | None, value: bytes) -> election.ProclaimResponse:
        request = election.ProclaimRequest(leader=leader, value=value).SerializeToString()
        return election.ProclaimResponse.FromString(
            await self.channel.unary("/v3electionpb.Election/Proclaim", request)
        )

    async def resign(self, leader: election.LeaderKey | None) -> election.ResignResponse:
        request = election.ResignRequest(leader=leader).SerializeToString()
        return election.ResignResponse.FromString(await self.channel.unary("/v3electionpb.Election/Resign", request))

    async def leader(self, name: bytes) -> election.LeaderResponse:
        request = election.LeaderRequest(name=name).SerializeToString()
        return election.LeaderResponse.FromString(await self.channel.unary("/v3electionpb.Election/Leader", request))

    async def keys(self, prefix: bytes) -> list[bytes]:
        request = rpc.RangeRequest(key=prefix, range_end=prefix + b"\xff")
        return [pair.key for pair in (await call(self.channel, "KV/Range", request)).kvs]

    async def until_queued(self, name: bytes, count: int) -> None:
        """Return when so many contenders have their keys, and the last one has seen who is before it."""
        while len(await self.keys(name + b"/")) < count:
            pass
        await self.keys(name)
        await self.keys(name)


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    async with FakeServer() as server:
        yield Clients(server)
