"""One member's directory: its layout, the lock that keeps a second process out, and whose it is.

    lock            flock'ed while a process lives
    identity.json   cluster id, member id, name: written once, a directory of another member is refused
    members         the table of members that a joining member was given; not there in a founder's
    removed         the member was removed from its cluster: it must not start again
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


class MemberRemoved(Exception):
    """The member was removed from its cluster for good."""


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
        """Whose directory it is; None for a new one. Raises WrongDataDirectory, MemberRemoved."""
        if (self.path / "removed").exists():
            raise MemberRemoved(f"the member has been permanently removed from the cluster; {self.path} must be removed "
                                "before another is started there")
        try:
            found = json.loads((self.path / "identity.json").read_text())
            return Identity(int(found["cluster_id"]), int(found["member_id"]), str(found["name"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise WrongDataDirectory(f"{self.path}/identity.json cannot be read: {error!r}") from error

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

    def founding_table(self) -> bytes:
        """What keep_founding_table kept, else nothing."""
        path = self.path / "members"
        return path.read_bytes() if path.exists() else b""

    def keep_founding_table(self, table: bytes) -> None:
        """Keep, durably, what a joining member starts from."""
        self._write("members", table)

    def retire(self) -> None:
        """The member was removed: let nobody start here again."""
        self._write("removed", b"")

    def _write_identity(self, mine: Identity) -> None:
        self._write("identity.json", json.dumps(asdict(mine)).encode())

    def _write(self, name: str, data: bytes) -> None:
        new = self.path / f"{name}.new"
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path / name)
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
