"""What may go wrong. Each function does its harm to the world and returns what heals it; the registry is their order.

A fault draws only from the Random that it is given, which belongs to its place in the schedule alone: a fault that is
left out (`--only`, `--shrink`) changes no other.

    processes.py  crash, stop, pause, upgrade        network.py   links and weather
    disks.py      slow, stalled, failing, full, rotten           clocks.py    rate, jumps
    cluster.py    what operators do: transfer, compaction, defragmentation, members that come and go
"""

from chaos.sim.faults.base import Fault, Heal
from chaos.sim.faults.clocks import clock_jump, clock_rate, clock_strobe
from chaos.sim.faults.cluster import compaction, defragment, leader_transfer, replacement, stray_learner
from chaos.sim.faults.disks import bit_rot, disk_error, full_disk, lost_state, slow_disk, stalled_disk
from chaos.sim.faults.network import bridge, flapping, halves, isolate, isolate_leader, one_way, ring, weather
from chaos.sim.faults.processes import crash, crash_all, crash_at_boundary, pause, pause_leader, stop, upgrade

__all__ = ["FAULTS", "Fault", "Heal"]

FAULTS: dict[str, Fault] = {
    "crash": crash, "crash at a boundary": crash_at_boundary, "crash of all": crash_all, "stop": stop, "upgrade": upgrade,
    "pause": pause, "pause of the leader": pause_leader,
    "isolate": isolate, "isolate the leader": isolate_leader, "halves": halves, "one way": one_way,
    "bridge": bridge, "ring": ring, "flapping": flapping,
    "loss": weather("loss", 0.3), "duplication": weather("duplication", 0.5),
    "reordering": weather("reordering", 0.5), "delay": weather("extra_delay_seconds", 0.5),
    "slow disk": slow_disk, "stalled disk": stalled_disk, "disk error": disk_error, "full disk": full_disk,
    "bit rot": bit_rot, "lost state": lost_state,
    "clock rate": clock_rate, "clock jump": clock_jump, "clock strobe": clock_strobe,
    "leader transfer": leader_transfer, "compaction": compaction, "defragment": defragment,
    "replacement": replacement, "stray learner": stray_learner,
}
