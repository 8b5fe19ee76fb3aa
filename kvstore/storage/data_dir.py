"""One member's directory: its layout, the lock that keeps a second process out, and whose it is.

    lock            flock'ed while a process lives
    identity.json   cluster id, member id, name: written once, a directory of another member is refused
    log/            the Raft log        state/   the replicated state        incoming/   snapshots that are arriving
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


class DataDirectoryInUse(Exception):
    """Another process holds the directory's lock."""


class WrongDataDirectory(Exception):
    """The directory belongs to another member or cluster."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose directory it is."""

    cluster_id: int
    member_id: int
    name: str


class DataDirectory:
    """An open (locked) directory. Raises DataDirectoryInUse, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in (path, self.log_path, self.state_path, self.incoming_path):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise DataDirectoryInUse(f"data directory {path} is in use by another process") from error

    @property
    def log_path(self) -> Path:
        return self.path / "log"

    @property
    def state_path(self) -> Path:
        return self.path / "state"

    @property
    def incoming_path(self) -> Path:
        return self.path / "incoming"

    def identity(self) -> Identity | None:
        """Whose directory it is; None for a new one."""
        try:
            found = json.loads((self.path / "identity.json").read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise WrongDataDirectory(f"{self.path}/identity.json cannot be read: {error}") from error
        return Identity(int(found["cluster_id"]), int(found["member_id"]), str(found["name"]))

    def identify(self, mine: Identity) -> None:
        """Claim a new directory; raise WrongDataDirectory where it is another's."""
        found = self.identity()
        if found is None:
            self._write_identity(mine)
        elif found != mine:
            raise WrongDataDirectory(
                f"data directory {self.path} belongs to member {found.name} ({found.member_id:x}) of cluster "
                f"{found.cluster_id:x}, not to {mine.name} ({mine.member_id:x}) of {mine.cluster_id:x}"
            )

    def _write_identity(self, mine: Identity) -> None:
        new = self.path / "identity.json.new"
        with new.open("w") as file:
            json.dump(asdict(mine), file)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path / "identity.json")
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let another process in; twice is harmless."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
