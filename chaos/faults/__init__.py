"""Faults: what is done to a cluster, and undone. The registry is what `--faults` takes.

base.py          what a fault is: inject, heal, and the counters that show that it was there and had an effect
processes.py     signals: kill, stop, pause, rolling restarts
links.py         partitions, delay, bandwidth, resets, stalled clients; with root loss, duplication, reordering, corruption
calls.py         disk calls that fail, wait or tear; clocks that jump and drift
disks.py         power cuts, full and thin disks (root)
limits.py        open files, sizes, processor, memory, disk operations
maintenance.py   compaction, defragmentation, snapshots, another leader, members that join and leave
damage.py        files that are gone or wrong
"""

from chaos.faults.base import Fault
from chaos.faults.calls import CALL_FAULTS
from chaos.faults.damage import DAMAGE_FAULTS
from chaos.faults.disks import DISK_FAULTS
from chaos.faults.limits import LIMIT_FAULTS
from chaos.faults.links import LINK_FAULTS
from chaos.faults.maintenance import MAINTENANCE_FAULTS
from chaos.faults.processes import PROCESS_FAULTS

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for table in (
        PROCESS_FAULTS, LINK_FAULTS, CALL_FAULTS, DISK_FAULTS, LIMIT_FAULTS, MAINTENANCE_FAULTS, DAMAGE_FAULTS,
    )
    for fault in table
}  # fmt: skip

__all__ = ["FAULTS", "Fault"]
