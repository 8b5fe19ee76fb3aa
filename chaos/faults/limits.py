"""Limits: open files, sizes of files, processor time, memory, disk operations."""

import contextlib
import os
import resource
from pathlib import Path
from random import Random
from typing import ClassVar

from chaos.faults.base import Fault, any_member
from chaos.target import Feature, Target

__all__ = ["LIMIT_FAULTS"]

CGROUPS = Path("/sys/fs/cgroup")


class Limit(Fault):
    """A soft limit of a live process."""

    kind: ClassVar[int]
    below: ClassVar[int]  # what is used already: the limit leaves this much more
    words: ClassVar[tuple[str, ...]]

    async def choose(self, target: Target, random: Random) -> list[str]:
        return any_member(target, random, None)

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        self._pid = target.pids().get(victim, 0)
        self._said = len(target.nodes[victim].words())
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                self._before = resource.prlimit(self._pid, self.kind)
                resource.prlimit(self._pid, self.kind, (self.amount(), self._before[1]))

    async def mend(self, target: Target, victim: str) -> None:
        if self._pid and target.pids().get(victim) == self._pid:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._pid, self.kind, self._before)

    def amount(self) -> int:
        return self.below

    async def seen(self, target: Target, victim: str) -> bool:
        said = target.nodes[victim].words()[self._said :]
        return any(word in said for word in self.words)


class Files(Limit):
    """No descriptor is left for another connection or file."""

    name = "files-limit"
    summary = "one member may open no more files or connections"
    kind = resource.RLIMIT_NOFILE
    below = 0
    words = ("Too many open files", "too many open files")

    def amount(self) -> int:
        return len(os.listdir(f"/proc/{self._pid}/fd"))

    async def seen(self, target: Target, victim: str) -> bool:
        if await super().seen(target, victim):
            return True
        with contextlib.suppress(OSError):
            return len(os.listdir(f"/proc/{self._pid}/fd")) >= resource.prlimit(self._pid, self.kind)[0]
        return False


class FileSize(Limit):
    """Files may not grow."""

    name = "file-size-limit"
    summary = "no file of one member may grow past 200 kB"
    kind = resource.RLIMIT_FSIZE
    below = 200_000
    words = ("File too large", "file too large", "NOSPACE", "no space")


class Cgroup(Fault):
    """One member's process in a control group (version 1) with a limit."""

    controller: ClassVar[str]
    counter: ClassVar[tuple[str, str]]  # file, and the first word of the line whose number counts

    @classmethod
    def why_not(cls, target_is_preloadable: bool) -> str:
        if os.geteuid() != 0:
            return "only root may make control groups"
        if not (CGROUPS / cls.controller / "tasks").exists():
            return f"no control groups of version 1 for {cls.controller}"
        return super().why_not(target_is_preloadable)

    async def choose(self, target: Target, random: Random) -> list[str]:
        return any_member(target, random, None)

    def settings(self, target: Target, victim: str) -> dict[str, str]:
        raise NotImplementedError

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        self._group = CGROUPS / self.controller / f"pilothouse-chaos-{os.getpid()}-{id(self):x}"
        self._group.mkdir()
        for file, text in self.settings(target, victim).items():
            (self._group / file).write_text(text)
        target.nodes[victim].held_down.add(self.name)
        if victim in target.pids():
            with contextlib.suppress(ProcessLookupError):
                (self._group / "cgroup.procs").write_text(str(target.pids()[victim]))

    async def mend(self, target: Target, victim: str) -> None:
        with contextlib.suppress(OSError):
            for pid in (self._group / "cgroup.procs").read_text().split():
                (self._group.parent / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            self._group.rmdir()
        await target.release(victim, self.name)

    async def seen(self, target: Target, victim: str) -> bool:
        file, word = self.counter
        text = (self._group / file).read_text()
        return any(int(line.split()[-1]) > 0 for line in text.splitlines() if line.startswith(word) or not word)


class SlowProcessor(Cgroup):
    """A tenth of one processor."""

    name = "processor-limit"
    summary = "one member gets a tenth of a processor"
    controller = "cpu"
    counter = ("cpu.stat", "nr_throttled")

    def settings(self, target: Target, victim: str) -> dict[str, str]:
        return {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "10000"}


class LittleMemory(Cgroup):
    """Less memory than it needs: the kernel ends it (its start again is the heal's)."""

    name = "memory-limit"
    summary = "one member is ended for want of memory"
    controller = "memory"
    counter = ("memory.failcnt", "")

    def settings(self, target: Target, victim: str) -> dict[str, str]:
        return {"memory.limit_in_bytes": str(1 << 20)}  # of what it takes from now on: what it has stays charged elsewhere


class SlowDisk(Cgroup):
    """Five disk writes a second."""

    name = "disk-slow"
    summary = "the disk of one member writes five times a second"
    needs = frozenset({Feature.DISKS})
    controller = "blkio"
    counter = ("blkio.throttle.io_serviced", "")

    def settings(self, target: Target, victim: str) -> dict[str, str]:
        disk = target.nodes[victim].disk
        assert disk is not None
        return {"blkio.throttle.write_iops_device": f"{disk.device} 5"}


LIMIT_FAULTS: tuple[type[Fault], ...] = (Files, FileSize, SlowProcessor, LittleMemory, SlowDisk)
