"""Members come and go while messages are lost and members crash; Raft's invariants are looked at after every step."""

from random import Random

import pytest

from kvstore.member.membership import Change, ChangeKind
from kvstore.member.ports import Failed, Ok
from tests.kvstore.member.world import NAMES
from tests.kvstore.membership.world import GrowingWorld


def settled(seed: int = 1, **options: object) -> GrowingWorld:
    world = GrowingWorld(Random(seed), **options)
    world.run_until(world.is_settled)
    world.run_until(lambda: all(row.name for row in world.members["m1"].members()))
    return world


def removal(world: GrowingWorld, name: str) -> Change:
    return Change(ChangeKind.REMOVE, world.members[name].member_id)


def test_a_new_voter_has_no_vote_before_it_has_caught_up() -> None:
    world = settled()
    answers = world.add("m2", "m4")
    world.run_until(lambda: answers)
    assert isinstance(answers[0], Ok)
    raft = world.members[world.leader() or ""].raft
    world.run_until(lambda: raft.log.configuration.learners)
    assert [len(raft.log.configuration.voters), len(raft.log.configuration.learners)] == [3, 1]
    assert world.join("m2", "m4")
    world.run_until(world.is_settled)
    assert [len(raft.log.configuration.voters), len(raft.log.configuration.learners)] == [4, 0]
    assert world.states["m4"].data == world.states["m1"].data


def test_a_new_member_far_behind_gets_a_snapshot_with_the_table() -> None:
    world = settled()
    for number in range(100):
        answers = world.put("m1", f"k{number}", "x")
        world.run_until(lambda answers=answers: answers)  # type: ignore[misc]
    added = world.add("m1", "m4")
    world.run_until(lambda: added)
    assert world.join("m1", "m4")
    world.run_until(lambda: world.is_settled() and len(world.states["m4"].data) == 100)
    assert world.members["m4"].raft.log.snapshot.index > 0


def test_a_removed_leader_hands_over_and_ends() -> None:
    world = settled()
    leader = world.leader() or ""
    answers = world.change(leader, removal(world, leader))
    world.run_until(lambda: leader in world.left)
    assert isinstance(answers[0], Ok)
    world.end_of_removed()
    world.run_until(world.is_settled)
    assert len(world.members) == 2


def test_a_member_that_answers_is_not_replaced_and_one_that_is_down_is() -> None:
    world = settled()
    leader = world.leader() or ""
    lost, other = sorted(set(NAMES) - {leader})
    change = Change(ChangeKind.REPLACE, world.members[lost].member_id)
    world.run_until(lambda: set(world.members[leader].changes.answering()) == world.members[leader].changes.table.voters())
    refused = world.change(other, change)
    world.run_until(lambda: refused)
    assert isinstance(refused[0], Failed)
    assert "answers" in refused[0].text
    world.crash(lost)
    world.run_until(lambda: change.member_id not in world.members[leader].changes.answering())
    answers = world.change(other, change)
    world.run_until(lambda: answers)
    assert isinstance(answers[0], Ok), answers
    successor = world.members[other].changes.table.successor(change.member_id)
    assert successor is not None
    world.run_until(lambda: world.members[other].raft.log.configuration.is_voter(change.member_id) is False)
    answers = world.put(other, "k", "v")
    world.run_until(lambda: answers)
    assert isinstance(answers[0], Ok)


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_of_two_members_either_can_be_removed(who: str) -> None:
    world = settled()
    for _ in range(2):
        leader = world.leader() or ""
        others = sorted(set(world.members) - {leader})
        gone = leader if who == "leader" else others[0]
        answers = world.change(others[0], removal(world, gone))
        world.run_until(lambda gone=gone: gone in world.left)  # type: ignore[misc]
        assert isinstance(answers[0], Ok)
        world.end_of_removed()
        world.run_until(world.is_settled)
    last = next(iter(world.members))
    refused = world.change(last, removal(world, last))
    world.run_until(lambda: refused)
    assert isinstance(refused[0], Failed)
    answers = world.put(last, "alone", "1")
    world.run_until(lambda: answers)


def test_two_at_once_go_through_a_joint_configuration_that_survives_a_crash_of_all() -> None:
    world = settled()
    leader = world.leader() or ""
    others = sorted(set(NAMES) - {leader})
    for name in ("m4", "m5"):
        answers = world.add(leader, name)
        world.run_until(lambda answers=answers: answers)  # type: ignore[misc]
        assert world.join(leader, name)
    world.run_until(world.is_settled)
    world.change(leader, removal(world, others[0]))
    world.change(leader, removal(world, others[1]))
    world.run_until(lambda: any(member.raft.log.configuration.is_joint for member in world.members.values()))
    for name in sorted(world.members):
        world.crash(name)
    world.packets.clear()
    for name in (*NAMES, "m4", "m5"):
        world.start(name)
    world.run_until(lambda: world.is_settled() and set(others) <= world.left)


def walk(seed: int, steps: int) -> None:
    """Random requests, losses, crashes and restarts; afterwards everything heals and all come to one table."""
    random = Random(seed)
    world = settled(seed)
    fresh = iter(f"m{number}" for number in range(4, 1000))
    down: list[str] = []
    waiting: list[str] = []
    for _ in range(steps):
        names = sorted(world.members)
        roll = random.random()
        if roll < 0.04 and len(names) < 6:
            name = next(fresh)
            waiting.append(name)
            world.add(random.choice(names), name)
        elif roll < 0.08 and waiting and world.join(random.choice(names), waiting[0]):
            waiting.pop(0)
        elif roll < 0.11 and len(names) > 3:
            world.change(random.choice(names), removal(world, random.choice(names)))
        elif roll < 0.14 and len(down) < 1 and len(names) > 2:
            down.append(random.choice(names))
            world.crash(down[-1])
        elif roll < 0.25 and down:
            world.start(down.pop())
        elif roll < 0.5:
            world.put(random.choice(names), f"k{random.randrange(20)}", str(random.random()))
        elif roll < 0.6:
            for packet in [packet for packet in world.packets if random.random() < 0.3]:
                world.packets.remove(packet)
                world.lose(packet)
        else:
            world.turn_all()
        if random.random() < 0.2:
            for name in sorted(world.members):
                world.members[name].tick()
        world.end_of_removed()
    heal(world, down, waiting)


def heal(world: GrowingWorld, down: list[str], waiting: list[str]) -> None:
    for name in down:
        world.start(name)

    def is_healed() -> bool:
        world.end_of_removed()
        if world.leader() is not None:
            for name in [name for name in waiting if world.join(world.leader() or "", name)]:
                waiting.remove(name)
        return world.is_settled()

    world.run_until(is_healed, ticks=600)
    data = {tuple(sorted(state.data.items())) for name, state in world.states.items() if name in world.members
            and world.members[name].member_id in {row.member_id for row in world.members[world.leader() or ""].members()}}
    answers = world.put(world.leader() or "", "end", "1")
    world.run_until(lambda: answers)
    assert isinstance(answers[0], Ok)
    assert data


@pytest.mark.parametrize("seed", range(10))
def test_changes_survive_losses_and_crashes_at_any_point(seed: int) -> None:
    walk(seed, 400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_changes_survive_losses_and_crashes_at_any_point_at_length(seed: int) -> None:
    walk(seed, 1500)
