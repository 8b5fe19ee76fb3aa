"""v3election.Election over a fake member."""

import asyncio

import pytest

from kvstore.pb import election_pb2 as election
from kvstore.rpc import ClientStream, Code, RpcError
from tests.kvstore.locks.conftest import Clients


async def test_the_first_candidate_leads_and_is_named_with_its_fencing_token(clients: Clients) -> None:
    won = await clients.campaign(b"boss", await clients.grant(0xAB), b"me")
    assert won.leader == election.LeaderKey(name=b"boss", key=b"boss/ab", rev=2, lease=0xAB)
    leader = await clients.leader(b"boss")
    assert (leader.kv.key, leader.kv.value, leader.kv.create_revision) == (b"boss/ab", b"me", 2)


async def test_the_second_leads_when_the_first_resigns(clients: Clients) -> None:
    first = await clients.campaign(b"boss", await clients.grant(1), b"one")
    second = asyncio.ensure_future(clients.campaign(b"boss", await clients.grant(2), b"two"))
    await clients.until_queued(b"boss", 2)
    await clients.resign(first.leader)
    won = await second
    assert won.leader.key == b"boss/2"
    assert won.header.revision == won.leader.rev
    assert (await clients.leader(b"boss")).kv.value == b"two"


async def test_a_candidate_that_asks_again_with_another_value_proclaims_it(clients: Clients) -> None:
    first = await clients.campaign(b"boss", await clients.grant(1), b"one")
    again = await clients.campaign(b"boss", 1, b"uno")
    assert again.leader == first.leader
    assert (await clients.leader(b"boss")).kv.value == b"uno"


async def test_a_leader_proclaims_and_a_former_one_is_refused(clients: Clients) -> None:
    won = await clients.campaign(b"boss", await clients.grant(1), b"one")
    await clients.proclaim(won.leader, b"new")
    assert (await clients.leader(b"boss")).kv.value == b"new"
    await clients.resign(won.leader)
    with pytest.raises(RpcError) as refusal:
        await clients.proclaim(won.leader, b"late")
    assert (refusal.value.code, refusal.value.text) == (Code.UNKNOWN, "election: not leader")
    await clients.resign(won.leader)  # nothing left to give up


async def test_no_leader_is_said(clients: Clients) -> None:
    with pytest.raises(RpcError) as refusal:
        await clients.leader(b"boss")
    assert (refusal.value.code, refusal.value.text) == (Code.UNKNOWN, "election: no leader")


async def test_a_request_without_the_leader_is_refused_in_etcds_words(clients: Clients) -> None:
    for request in (clients.proclaim(None, b"x"), clients.resign(None)):
        with pytest.raises(RpcError, match='"leader" field must be provided'):
            await request


async def test_a_candidate_whose_lease_ends_does_not_lead(clients: Clients) -> None:
    await clients.campaign(b"boss", await clients.grant(1))
    late = asyncio.ensure_future(clients.campaign(b"boss", await clients.grant(2)))
    await clients.until_queued(b"boss", 2)
    await clients.revoke(2)
    with pytest.raises(RpcError, match="election: not leader"):
        await late


def observe(clients: Clients, name: bytes) -> ClientStream:
    stream = clients.channel.stream("/v3electionpb.Election/Observe")
    stream.send(election.LeaderRequest(name=name).SerializeToString())
    stream.half_close()
    return stream


async def test_an_observer_sees_each_leader_and_all_it_proclaims(clients: Clients) -> None:
    messages = aiter(observe(clients, b"boss"))

    async def seen() -> tuple[bytes, bytes]:
        answer = election.LeaderResponse.FromString(await anext(messages))
        assert answer.header.member_id == clients.server.member.member_id
        assert answer.header.revision >= answer.kv.mod_revision
        return answer.kv.key, answer.kv.value

    first = await clients.campaign(b"boss", await clients.grant(1), b"one")
    assert await seen() == (b"boss/1", b"one")
    other = asyncio.ensure_future(clients.campaign(b"boss", await clients.grant(2), b"two"))
    await clients.until_queued(b"boss", 2)
    for value in (b"more", b"most"):
        await clients.proclaim(first.leader, value)
        assert await seen() == (b"boss/1", value)
    await clients.campaign(b"boss2", await clients.grant(3), b"elsewhere")
    await clients.resign(first.leader)
    assert await seen() == (b"boss/2", b"two")
    await other


async def test_an_observer_that_comes_late_is_shown_the_leader_at_once(clients: Clients) -> None:
    await clients.campaign(b"boss", await clients.grant(1), b"one")
    answer = election.LeaderResponse.FromString(await anext(aiter(observe(clients, b"boss"))))
    assert answer.kv.value == b"one"
