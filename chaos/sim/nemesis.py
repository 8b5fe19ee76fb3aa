"""What goes wrong, and when. A fault begins, lasts, and is healed; several may overlap.

Each function of FAULTS does its harm to the world and returns what heals it. All draws come from the nemesis' own Random.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.sim.host import Host
from kvstore.pb.rpc_pb2 import CompactionRequest, DefragmentRequest, MoveLeaderRequest

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["FAULTS", "Nemesis"]

MAX_BOUNDARIES = 200
CALL_SECONDS = 5.0
JUMP_SECONDS = 288.0  # as far as Jepsen's bumps go
FLAP_SECONDS = 0.4
FASTEST_CLOCK = 2.0  # and half of it the slowest

Heal = Callable[[], None]
Fault = Callable[["StoreWorld"], Heal]


def _nothing() -> None:
    pass


def _some(world: StoreWorld) -> Host:
    return world.nemesis_random.choice(world.hosts)


def _leader(world: StoreWorld) -> Host:
    return world.leader() or _some(world)


def _restart(world: StoreWorld, *hosts: Host) -> Heal:
    def heal() -> None:
        for host in hosts:
            if host.process is None and not host.is_removed:
                host.start()

    return heal


def crash(world: StoreWorld) -> Heal:
    """kill -9 and a power cut in one: what was not synced is gone."""
    host = _some(world)
    host.crash("by the nemesis")
    return _restart(world, host)


def crash_at_boundary(world: StoreWorld) -> Heal:
    """The same, between two effects."""
    host = _some(world)
    if host.process is not None:
        host.process.boundaries.arm(world.nemesis_random.randrange(1, MAX_BOUNDARIES))
    return _restart(world, host)


def crash_all(world: StoreWorld) -> Heal:
    """The whole building loses power."""
    for host in world.hosts:
        host.crash("with all others")
    return _restart(world, *world.hosts)


def stop(world: StoreWorld) -> Heal:
    """SIGTERM."""
    host = _some(world)
    host.stop()
    return _restart(world, host)


def pause(world: StoreWorld) -> Heal:
    """SIGSTOP, then SIGCONT."""
    host = _some(world)
    host.pause()
    return host.resume


def pause_leader(world: StoreWorld) -> Heal:
    """SIGSTOP to whoever leads."""
    host = _leader(world)
    host.pause()
    return host.resume


def _separate(world: StoreWorld, left: set[str], right: set[str], *, one_way: bool = False) -> Heal:
    cut = {(a, b) for a in left for b in right} | (set() if one_way else {(b, a) for a in left for b in right})
    added = cut - world.network.cut
    world.network.cut |= added
    return lambda: world.network.cut.difference_update(added)


def isolate(world: StoreWorld) -> Heal:
    """One member hears no other, and its clients only now and then: they are of its side or not."""
    return _isolate(world, _some(world).name)


def isolate_leader(world: StoreWorld) -> Heal:
    """The same, for whoever leads."""
    return _isolate(world, _leader(world).name)


def _isolate(world: StoreWorld, name: str) -> Heal:
    clients = [client for client in world.outside_names() if world.nemesis_random.random() < 0.5]
    inside = {name, *clients}
    return _separate(world, inside, {*world.names, *world.outside_names()} - inside)


def halves(world: StoreWorld) -> Heal:
    """A minority and a majority."""
    shuffled = world.nemesis_random.sample(world.names, len(world.names))
    middle = len(shuffled) // 2
    return _separate(world, set(shuffled[:middle]), set(shuffled[middle:]))


def one_way(world: StoreWorld) -> Heal:
    """What one member says reaches nobody, though it hears all; or the other way round."""
    name = _some(world).name
    others = set(world.names) - {name}
    if world.nemesis_random.random() < 0.5:
        return _separate(world, {name}, others, one_way=True)
    return _separate(world, others, {name}, one_way=True)


def bridge(world: StoreWorld) -> Heal:
    """Two halves that only one member can reach both of."""
    shuffled = world.nemesis_random.sample(world.names, len(world.names))
    rest = shuffled[1:]
    middle = len(rest) // 2
    return _separate(world, set(rest[:middle]), set(rest[middle:]))


def ring(world: StoreWorld) -> Heal:
    """Each member reaches its two neighbours alone, so that each sees another majority."""
    shuffled = world.nemesis_random.sample(world.names, len(world.names))
    count = len(shuffled)
    cut = {
        (shuffled[i], shuffled[j])
        for i in range(count) for j in range(count)
        if i != j and (i - j) % count not in (1, count - 1)
    } - world.network.cut
    world.network.cut |= cut
    return lambda: world.network.cut.difference_update(cut)


def flapping(world: StoreWorld) -> Heal:
    """A link that comes and goes."""
    pair = world.nemesis_random.sample(world.names, 2)
    is_on = True
    heal_cut: Heal = _nothing

    def flip() -> None:
        nonlocal heal_cut
        heal_cut()
        if is_on:
            heal_cut = _separate(world, {pair[0]}, {pair[1]}) if heal_cut is _nothing else _nothing
            world.heap.after(FLAP_SECONDS * (0.5 + world.nemesis_random.random()), flip)

    def heal() -> None:
        nonlocal is_on, heal_cut
        is_on = False
        heal_cut()
        heal_cut = _nothing

    flip()
    return heal


def _weather(attribute: str, most: float) -> Fault:
    def fault(world: StoreWorld) -> Heal:
        setattr(world.network.weather, attribute, most * world.nemesis_random.random())
        return lambda: setattr(world.network.weather, attribute, 0.0)

    return fault


def slow_disk(world: StoreWorld) -> Heal:
    """Every fsync of one member takes up to 200 times as long."""
    host = _some(world)
    if host.process is not None:
        host.process.disk.slowness = 10.0 ** (2.3 * world.nemesis_random.random())

    def heal() -> None:
        if host.process is not None:
            host.process.disk.slowness = 1.0

    return heal


def stalled_disk(world: StoreWorld) -> Heal:
    """An fsync that hangs, longer than an election may take."""
    host = _leader(world)
    if host.process is not None:
        host.process.disk.stalled_until = world.heap.now + 5.0 * world.nemesis_random.random()
    return _nothing


def disk_error(world: StoreWorld) -> Heal:
    """The next fsync of one member fails: its process must end and not try again."""
    host = _some(world)
    if host.process is not None:
        host.process.disk.error_number = errno.EIO
    return _restart(world, host)


def full_disk(world: StoreWorld) -> Heal:
    """One member's log finds no room."""
    host = _some(world)
    if host.process is not None:
        host.process.disk.has_room = False

    def heal() -> None:
        if host.process is not None:
            host.process.disk.has_room = True

    return heal


def clock_rate(world: StoreWorld) -> Heal:
    """One member's clocks run at half to double speed."""
    host = _some(world)
    host.clock.set_rate(FASTEST_CLOCK ** (2.0 * world.nemesis_random.random() - 1.0))
    return lambda: host.clock.set_rate(1.0)


def clock_jump(world: StoreWorld) -> Heal:
    """One member's wall clock jumps."""
    _some(world).clock.jump(JUMP_SECONDS * (2.0 * world.nemesis_random.random() - 1.0))
    return _nothing


def leader_transfer(world: StoreWorld) -> Heal:
    """MoveLeader under load."""
    leader, target = world.leader(), _some(world)
    if leader is not None and target.process is not None:
        request = MoveLeaderRequest(targetID=target.process.member.member_id)
        world.operator.call(leader, "/etcdserverpb.Maintenance/MoveLeader", request.SerializeToString(), CALL_SECONDS,
                            world.ignore)
    return _nothing


def compaction(world: StoreWorld) -> Heal:
    """The history up to a little before now is dropped."""
    host = _some(world)
    if host.process is not None:
        revision = host.process.state.machine.revision - world.nemesis_random.randrange(20)
        if revision > 0 and world.may_compact:
            request = CompactionRequest(revision=revision, physical=world.nemesis_random.random() < 0.5)
            world.operator.call(host, "/etcdserverpb.KV/Compact", request.SerializeToString(), CALL_SECONDS, world.ignore)
    return _nothing


def defragment(world: StoreWorld) -> Heal:
    """Defragment one member."""
    world.operator.call(_some(world), "/etcdserverpb.Maintenance/Defragment", DefragmentRequest().SerializeToString(),
                        CALL_SECONDS, world.ignore)
    return _nothing


FAULTS: dict[str, Fault] = {
    "crash": crash, "crash at a boundary": crash_at_boundary, "crash of all": crash_all, "stop": stop,
    "pause": pause, "pause of the leader": pause_leader,
    "isolate": isolate, "isolate the leader": isolate_leader, "halves": halves, "one way": one_way,
    "bridge": bridge, "ring": ring, "flapping": flapping,
    "loss": _weather("loss", 0.3), "duplication": _weather("duplication", 0.5),
    "reordering": _weather("reordering", 0.5), "delay": _weather("extra_delay_seconds", 0.5),
    "slow disk": slow_disk, "stalled disk": stalled_disk, "disk error": disk_error, "full disk": full_disk,
    "clock rate": clock_rate, "clock jump": clock_jump,
    "leader transfer": leader_transfer, "compaction": compaction, "defragment": defragment,
}


class Nemesis:
    """Draws faults of the swarm at random times until `end`."""

    def __init__(self, world: StoreWorld) -> None:
        self._world = world
        self._heals: dict[int, Heal] = {}
        self._count = 0
        self._is_on = False

    def begin(self) -> None:
        """From now on things go wrong."""
        self._is_on = bool(self._world.swarm.faults)
        self._schedule()

    def _schedule(self) -> None:
        world = self._world
        if self._is_on:
            world.heap.after(world.nemesis_random.expovariate(1 / world.swarm.interval_seconds), self._act)

    def _act(self) -> None:
        if not self._is_on:
            return
        world = self._world
        name = world.nemesis_random.choice(world.swarm.faults)
        self._count += 1
        number = self._count
        world.note("nemesis", f"fault {name}", number)
        self._heals[number] = FAULTS[name](world)
        world.heap.after(world.nemesis_random.expovariate(1 / world.swarm.fault_seconds), lambda: self._heal(number))
        self._schedule()

    def _heal(self, number: int) -> None:
        heal = self._heals.pop(number, None)
        if heal is not None:
            self._world.note("nemesis", "healed", number)
            heal()

    def end(self) -> None:
        """All is healed, in the order in which it went wrong; every process runs."""
        self._is_on = False
        for number in list(self._heals):
            self._heal(number)
        world = self._world
        world.network.heal()
        for host in world.hosts:
            host.resume()
            host.clock.set_rate(1.0)
            if host.process is not None:
                host.process.boundaries.arm(0)
                host.process.disk.has_room = True
                host.process.disk.error_number, host.process.disk.slowness = 0, 1.0
            elif not host.is_removed:
                host.start()
