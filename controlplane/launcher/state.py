"""The data directory of a cluster: what is kept where, who runs, and that only one supervisor runs.

cluster.json          the plan of the first `up`; later ones use it again
lock                  held (flock) by the supervisor and every process it started, so it is free when all are gone
pki/  kubeconfig/     certificates; one kubeconfig per component
kv/NAME  nodes/NAME   what members and node agents keep
instances/NAME.json   the machines that the `local` cloud provider sees
logs/NAME.log         one log per process
run/processes.json    pid, start time and state of each process; run/control.sock: the supervisor listens here
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEFAULT_DIRECTORY = "~/.pilothouse"
DEFAULT_STORE_DIRECTORY = "~/.pilothouse-kv"


class LauncherError(Exception):
    """Something the user can mend; the text is one line and the exit code is 1."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One line of run/processes.json. `start_time` is field 22 of /proc/PID/stat, so a reused pid is not mistaken."""

    name: str
    kind: str
    pid: int
    start_time: int
    state: str  # starting | ready | exited
    exit: str = ""
    address: str = ""


def start_time_of(pid: int) -> int | None:
    """Return the start time of a living process in clock ticks since boot, None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def alive(process: ProcessState) -> bool:
    return process.pid > 0 and start_time_of(process.pid) == process.start_time


def resident_bytes(pid: int) -> int:
    """Return the proportional set size of a process in bytes (shared pages are divided among their users), 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class DataDirectory:
    """Paths and small files of one cluster's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    @property
    def plan_file(self) -> Path:
        return self.path / "cluster.json"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def instances(self) -> Path:
        return self.path / "instances"

    def kubeconfig(self, name: str = "admin") -> Path:
        return self.path / "kubeconfig" / f"{name}.conf"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Create the folders; raise LauncherError when the path cannot be ours."""
        try:
            for folder in (self.path, self.run, self.logs, self.pki, self.instances, self.path / "kubeconfig"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LauncherError(f"cannot use data directory {self.path}: {error.strerror}") from error

    def lock(self) -> int:
        """Take the lock and return its descriptor; raise LauncherError when a cluster runs here."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            running = [f"{item.name} (pid {item.pid})" for item in self.processes() if alive(item)]
            who = f": {', '.join(running[:3])}{' ...' if len(running) > 3 else ''}" if running else ""
            raise LauncherError(
                f"a cluster already runs in {self.path}{who}; `pilothouse status` shows it, `pilothouse down` stops it"
            ) from error
        return descriptor

    def is_locked(self) -> bool:
        if not (self.path / "lock").exists():
            return False
        try:
            os.close(self.lock())
        except LauncherError:
            return True
        return False

    def processes(self) -> list[ProcessState]:
        document = self.read_json(self.run / "processes.json") or []
        return [ProcessState(**item) for item in document]

    def write_processes(self, processes: list[ProcessState]) -> None:
        self.write_json(self.run / "processes.json", [asdict(item) for item in processes])

    def read_json(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise LauncherError(f"{path} is damaged ({error}); `pilothouse reset` starts afresh") from error

    def write_json(self, path: Path, document: Any) -> None:
        """Replace a file at once, so that a reader never sees half of it."""
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(document, indent=1))
        os.replace(temporary, path)
