"""Three whole members over loopback: real logs and the real protocol between peers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvstore.member.ports import Failed, Ok
from kvstore.pb import raft_pb2
from kvstore.rpc import Channel, Code, RpcError
from tests.kvstore.member.kit import LoopbackCluster


@pytest.fixture(params=[False, True], ids=["inline", "disk-thread"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LoopbackCluster]:
    made = LoopbackCluster(tmp_path, disk_thread=request.param, snapshot_count=50, snapshot_catchup_entries=10)
    await made.start()
    yield made
    await made.stop()


async def test_a_write_on_any_member_is_read_on_any_other(cluster: LoopbackCluster) -> None:
    await cluster.leader()
    for number, name in enumerate(cluster.urls):
        assert await cluster.put(name, "key", str(number)) == Ok(None if number == 0 else str(number - 1))
        for other in cluster.urls:
            assert await cluster.barrier(other) == Ok(None)
            assert cluster.states[other].data["key"] == str(number)


async def test_a_write_waits_for_the_first_leader(cluster: LoopbackCluster) -> None:
    answers = await asyncio.gather(*(cluster.put(name, name, "x") for name in cluster.urls))
    assert answers == [Ok(None)] * 3


async def test_writes_go_on_after_the_leader_has_gone(cluster: LoopbackCluster) -> None:
    leader = await cluster.leader()
    others = [name for name in cluster.urls if name != leader]
    pending = [asyncio.create_task(cluster.put(others[i % 2], f"k{i}", "v")) for i in range(50)]
    await asyncio.sleep(0)
    await cluster.stop(leader)
    assert all(isinstance(answer, Ok) for answer in await asyncio.gather(*pending))
    commands = cluster.states[others[0]].commands
    assert len(commands) == len(set(commands))


async def test_a_member_that_lagged_gets_a_snapshot(
    cluster: LoopbackCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvstore.member")
    leader = await cluster.leader()
    lagging = next(name for name in cluster.urls if name != leader)
    await cluster.stop(lagging)
    for number in range(200):
        await cluster.put(leader, f"key{number}", "v" * 50)
    member = cluster.drivers[leader].member
    await cluster.until(lambda: member.raft.log.snapshot.index > 60)
    await cluster.start(lagging)
    index = member.applied_index
    await cluster.until(lambda: cluster.states[lagging].applied_index >= index)
    assert cluster.states[lagging].data == cluster.states[leader].data
    assert "installed the snapshot" in caplog.text


async def test_everything_is_there_after_all_have_stopped(cluster: LoopbackCluster) -> None:
    await cluster.leader()
    await asyncio.gather(*(cluster.put("m1", f"key{i}", "v") for i in range(100)))
    await cluster.stop()
    await cluster.start()
    assert await cluster.barrier("m2") == Ok(None)
    assert len(cluster.states["m2"].data) == 100


async def test_members_learn_each_others_client_urls(cluster: LoopbackCluster) -> None:
    await cluster.leader()
    members = {name: driver.member for name, driver in cluster.drivers.items()}
    await cluster.until(lambda: all(info.client_urls for m in members.values() for info in m.members()))
    assert members["m1"].members() == members["m3"].members()
    assert [info.client_urls for info in members["m2"].members() if info.name == "m1"] == [("http://m1:2379",)]


async def test_leadership_can_be_handed_over(cluster: LoopbackCluster) -> None:
    leader = await cluster.leader()
    target = next(name for name in cluster.urls if name != leader)
    answer: asyncio.Future[Ok | Failed] = asyncio.get_running_loop().create_future()
    cluster.drivers[leader].member.transfer_leadership(cluster.drivers[target].member.member_id, answer.set_result)
    assert await answer == Ok(None)
    assert await cluster.leader() == target


async def test_a_question_is_answered_by_the_other_member(cluster: LoopbackCluster) -> None:
    await cluster.leader()
    one, two = cluster.drivers["m1"].member, cluster.drivers["m2"].member
    two.answer("echo", lambda payload, reply: reply(payload * 2))
    answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    one.ask(two.member_id, "echo", b"ab", answer.set_result)
    assert await answer == b"abab"


async def test_without_a_quorum_requests_fail_in_etcds_words(tmp_path: Path) -> None:
    cluster = LoopbackCluster(tmp_path)
    await cluster.start("m1")
    member = cluster.drivers["m1"].member
    write = asyncio.create_task(cluster.put("m1", "a", "b"))
    read = asyncio.create_task(cluster.barrier("m1"))
    await asyncio.sleep(0)
    for _ in range(member.config.request_timeout_ticks + 1):
        member.tick()
    assert await write == Failed(14, "etcdserver: no leader", certain=True)
    assert await read == Failed(14, "etcdserver: no leader", certain=True)
    await cluster.stop()


async def speak(url: str, cluster_id: str, *messages: bytes) -> RpcError | None:
    """Say something on a member's peer port; returns how it ended the stream."""
    channel = Channel(url)
    stream = channel.stream("/pilothouse.raft.Peer/Messages", {"cluster-id": cluster_id, "member-id": "1"})
    try:
        for message in messages:
            stream.send(message)
        async for _ in stream:
            pass
    except RpcError as error:
        return error
    finally:
        await channel.close()
    return None


async def test_a_member_of_another_cluster_is_not_listened_to(cluster: LoopbackCluster) -> None:
    ended = await speak(cluster.urls["m1"], "abc", b"")
    assert ended is not None
    assert (ended.code, ended.text) == (Code.FAILED_PRECONDITION, "etcdserver: cluster ID mismatch")


@pytest.mark.parametrize("message", [b"\xff\xff\xff", raft_pb2.Batch(source=1, to=2).SerializeToString()])
async def test_what_cannot_be_read_ends_the_stream_and_not_the_member(cluster: LoopbackCluster, message: bytes) -> None:
    ended = await speak(cluster.urls["m1"], f"{cluster.config('m1').cluster_id:x}", message)
    assert ended is not None
    assert ended.code == Code.INVALID_ARGUMENT
    assert await cluster.put("m1", "key", "value") == Ok(None)


async def test_a_member_counts_its_saves_and_the_bytes_to_and_from_each_other(cluster: LoopbackCluster) -> None:
    leader = await cluster.leader()
    figures = cluster.drivers[leader].figures
    saves = sum(figures.fsync.counts)
    assert await cluster.put(leader, "key", "value") == Ok(None)
    has_thread = cluster.options["disk_thread"]
    assert (sum(figures.fsync.counts) > saves) == has_thread
    others = {driver.member.member_id for name, driver in cluster.drivers.items() if name != leader}
    assert set(figures.sent_bytes) == others
    await cluster.until(lambda: set(figures.received_bytes) == others)
    await cluster.until(lambda: sum(figures.commit.counts) > 0)
