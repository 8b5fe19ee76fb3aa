"""One member's promises, on a deterministic network and disk."""

from collections.abc import Callable
from random import Random

import pytest

from kvstore.member.ports import Failed, Ok, Result
from kvstore.member.waiters import Proposals
from tests.kvstore.member.world import NAMES, LateDisk, World


def elected() -> tuple[World, str, list[str]]:
    world = World(Random(1))
    world.run_until(lambda: world.leader() and all(m.leader for m in world.members.values()))
    leader = world.leader()
    assert leader is not None
    return world, leader, [name for name in NAMES if name != leader]


def test_a_write_is_answered_with_the_state_machines_value() -> None:
    world, leader, others = elected()
    first = world.put(leader, "a", "1")
    world.run_until(lambda: first)
    second = world.put(others[0], "a", "2")
    world.run_until(lambda: second)
    assert (first, second) == ([Ok(None)], [Ok("1")])


def test_nothing_is_answered_before_a_disk_has_it() -> None:
    world, leader, _ = elected()
    answers = world.put(leader, "a", "1")
    for _ in range(20):
        for member in world.members.values():
            member.turn()
        packets, world.packets = world.packets, []
        for packet in packets:
            packet()
    assert answers == []
    world.run_until(lambda: answers)
    assert answers == [Ok(None)]


def test_a_forwarded_write_that_the_leader_took_to_its_grave_is_proposed_again() -> None:
    world, leader, others = elected()
    answers = world.put(others[0], "a", "1")
    world.members[others[0]].turn()
    world.packets.clear()
    world.crash(leader)
    world.run_until(lambda: answers)
    assert answers == [Ok(None)]
    assert world.states[others[0]].commands.count(b"a=1") == 1


def test_a_repeated_forward_is_applied_once() -> None:
    world, _, others = elected()
    answers = world.put(others[0], "a", "1")
    world.members[others[0]].turn()
    world.packets += world.packets
    world.run_until(lambda: answers)
    world.run_until(lambda: True)
    assert world.states[others[0]].commands.count(b"a=1") == 1


def test_the_old_leaders_writes_are_proposed_again_by_itself_after_a_partition() -> None:
    world, leader, others = elected()
    world.cut_off = {world.members[leader].member_id}
    answers = world.put(leader, "a", "old")
    world.members[leader].turn()
    world.run_until(lambda: any(world.members[name].is_leader for name in others))
    newer = world.put(others[0], "b", "new")
    world.run_until(lambda: newer)
    world.cut_off = set()
    world.run_until(lambda: answers)
    assert answers == [Ok(None)]
    assert world.states[others[0]].commands.count(b"a=old") == 1


def test_a_read_at_a_deposed_leader_waits_for_the_new_one() -> None:
    world, leader, others = elected()
    world.cut_off = {world.members[leader].member_id}
    world.run_until(lambda: any(world.members[name].is_leader for name in others))
    newer = world.put(others[0], "b", "new")
    world.run_until(lambda: newer)
    answers = world.read(leader)
    for _ in range(5):
        world.turn_all()
    assert answers == []
    world.cut_off = set()
    world.run_until(lambda: answers)
    assert answers == [Ok(None)]
    assert world.states[leader].data["b"] == "new"


def test_requests_without_a_leader_fail_after_the_request_timeout() -> None:
    world, leader, others = elected()
    for name in others:
        world.crash(name)
    ticks = world.members[leader].config.request_timeout_ticks
    world.run_until(lambda: not world.members[leader].leader)
    write, read = world.put(leader, "a", "1"), world.read(leader)
    world.run_until(lambda: write and read, ticks + 5)
    failed = Failed(14, "etcdserver: no leader", certain=True)
    assert (write, read) == ([failed], [failed])


def test_a_write_that_left_and_got_no_answer_has_an_unknown_outcome() -> None:
    world, leader, others = elected()
    write = world.put(leader, "a", "1")
    world.members[leader].turn()
    for name in others:
        world.crash(name)
    world.run_until(lambda: write, 200)
    assert write == [Failed(14, "etcdserver: request timed out", certain=False)]


def test_a_timeout_tells_what_etcd_suspects() -> None:
    def text_of(began_at: int, *events: Callable[[Proposals], None]) -> str:
        proposals, results = Proposals(timeout_ticks=70, election_ticks=10), []
        proposals.on_leader(1, 100)
        proposals.add(7, b"", results.append, began_at)
        proposals.next_batch(1, 1, 10, 1000)
        for event in events:
            event(proposals)
        proposals.expire(began_at + 70)
        assert isinstance(results[0], Failed)
        return results[0].text.removeprefix("etcdserver: request timed out")

    def elected(leader: int, tick: int) -> Callable[[Proposals], None]:
        return lambda proposals: proposals.on_leader(leader, tick)

    lost = lambda proposals: proposals.on_lost(1, 205)  # noqa: E731
    assert text_of(200) == ""
    assert text_of(200, elected(0, 205)) == ""
    assert text_of(200, elected(0, 205), elected(1, 206)) == ", possibly due to previous leader failure"
    assert text_of(200, elected(2, 219)) == ", possibly due to previous leader failure"
    assert text_of(200, elected(2, 221)) == ""
    assert text_of(200, lost) == ", possibly due to connection lost"
    assert text_of(206, lost) == ""
    assert text_of(200, lost, elected(2, 230)) == ""


def test_a_leader_whose_disk_is_stalled_hands_over() -> None:
    world, leader, others = elected()
    disk, world.disks[leader] = world.disks[leader], LateDisk()
    answers = world.put(others[0], "a", "1")
    world.run_until(lambda: any(world.members[name].is_leader for name in others) and answers, 60)
    assert answers == [Ok(None)]
    world.disks[leader] = disk
    world.run_until(lambda: world.states[leader].data.get("a") == "1")


def test_a_member_that_stops_tells_who_waits() -> None:
    world, leader, _ = elected()
    write, read = world.put(leader, "a", "1"), world.read(leader)
    world.members[leader].stop()
    late = world.put(leader, "b", "1")
    for answers in (write, read, late):
        assert answers == [Failed(14, "etcdserver: server stopped", certain=True)]


def test_too_many_waiting_writes_are_refused() -> None:
    world = World(Random(1), max_pending_proposals=2)
    answers = [world.put("m1", "a", str(i)) for i in range(3)]
    assert answers == [[], [], [Failed(8, "etcdserver: too many requests", certain=True)]]


@pytest.mark.parametrize("seed", range(60))
def test_acknowledged_writes_survive_any_walk_and_none_is_applied_twice(seed: int) -> None:
    walk(seed, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_acknowledged_writes_survive_long_walks(seed: int) -> None:
    walk(seed, 5000)


def walk(seed: int, steps: int) -> None:
    """Proposals, ticks, late disks, lost and repeated packets, partitions and crashes, in random order; then all heals."""
    random = Random(seed)
    world, acknowledged, writes = World(random), set[str](), 0

    def finish(key: str, result: Result) -> None:
        if isinstance(result, Ok):
            acknowledged.add(key)

    for _ in range(steps):
        name = random.choice(NAMES)
        member, draw = world.members.get(name), random.random()
        if member is None:
            if draw < 0.1:
                world.start(name)
        elif draw < 0.10:
            writes += 1
            member.propose(f"k{writes}=v".encode(), lambda result, key=f"k{writes}": finish(key, result))  # type: ignore[misc]
        elif draw < 0.16:
            member.tick()
        elif draw < 0.45:
            member.turn()
        elif draw < 0.62:
            world.disks[name].finish(1)
        elif draw < 0.965 and world.packets:
            packet = world.packets.pop(random.choice((0, 0, random.randrange(len(world.packets)))))
            if draw > 0.64:
                packet()
            else:
                world.lose(packet)
            if draw > 0.955:
                packet()
        elif draw > 0.992 and len(world.members) == 3:
            world.crash(name)
        elif draw > 0.985:
            world.cut_off = {random.choice([m.member_id for m in world.members.values()])} if random.random() < 0.5 else set()
    world.cut_off = set()
    for name in NAMES:
        if name not in world.members:
            world.start(name)
    end = [world.put(name, f"end-{name}", "v") for name in NAMES]
    world.run_until(lambda: all(end) and len({s.applied_index for s in world.states.values()}) == 1)
    for answers in end:  # a member that is caught up by a snapshot cannot know what became of its write
        assert isinstance(answers[0], Ok) or not answers[0].certain
    states = [world.states[name].data for name in NAMES]
    assert states[0] == states[1] == states[2]
    assert acknowledged <= states[0].keys()
    for state in world.states.values():
        assert len(state.commands) == len(set(state.commands))
