"""One member's directory: its layout, the lock that keeps a second process out, and whose it is.

    lock            flock'ed while a process lives
    identity.json   format, cluster id, member id, name: written once; another member's, or a newer format, is refused
    members         the table of members that a joining member was given; not there in a founder's
    removed         the member was removed from its cluster: it must not start again
    peers           URLs of the other members, as far as known: whom to ask for help
    damaged         the log is damaged, and the member asks to be replaced; gone when it has been
    log/            the Raft log        state/   the replicated state        incoming/   snapshots that are arriving
    damaged-N/      what was set aside because it was damaged; nothing reads it, and it may be deleted
"""

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1  # of the whole directory: a version that cannot be read by older ones gets a new number


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


@dataclass(frozen=True, slots=True)
class Damage:
    """Whose log is damaged, how, and where it is set aside."""

    identity: Identity
    reason: str
    aside: str


class DataDirectory:
    """An open (locked) directory. Raises DataDirectoryInUse, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._noted_peers: list[str] | None = None
        for folder in (path, self.log_path, self.state_path, self.incoming_path):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise DataDirectoryInUse(f"data directory {path} is in use by another process") from error

    @property
    def has_begun(self) -> bool:
        """Whether a log was ever written here."""
        return (self.path / "log-begun").exists() or any(self.log_path.iterdir())

    @property
    def log_path(self) -> Path:
        return self.path / "log"

    @property
    def state_path(self) -> Path:
        return self.path / "state"

    @property
    def crashes_path(self) -> Path:
        """The note of crashes.py."""
        return self.path / "crashes"

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
            if (number := found.get("format", 1)) != FORMAT:
                raise WrongDataDirectory(f"{self.path} has the format {number}, this version reads and writes {FORMAT}: it "
                                         "was written by a newer version")
            return Identity(int(found["cluster_id"]), int(found["member_id"]), str(found["name"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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
        self._write("identity.json", json.dumps({"format": FORMAT, **asdict(mine)}).encode())

    # Help from the other members ---------------------------------------------------------------------------------

    def note_peers(self, urls: Sequence[str]) -> None:
        """Whom to ask for help one day. Not durable: --initial-cluster names some too."""
        if self._noted_peers != list(urls):
            self._noted_peers = list(urls)
            with suppress(OSError):  # a full disk
                (self.path / "peers").write_text(json.dumps(self._noted_peers))

    def peers(self) -> tuple[str, ...]:
        """What note_peers noted last; nothing where that cannot be read."""
        try:
            return tuple(map(str, json.loads((self.path / "peers").read_text())))
        except (OSError, ValueError, TypeError):
            return ()

    def note_damage(self, identity: Identity, reason: str) -> Damage:
        """The log is damaged: from now on, this member takes no part under its old id."""
        damage = Damage(identity, reason, self._free_name())
        self._write("damaged", json.dumps(asdict(damage)).encode())
        return damage

    def damage(self) -> Damage | None:
        """What note_damage noted, until the member was replaced. Raises WrongDataDirectory."""
        try:
            found = json.loads((self.path / "damaged").read_text())
            return Damage(Identity(**found["identity"]), found["reason"], found["aside"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise WrongDataDirectory(f"{self.path}/damaged cannot be read: {error!r}") from error

    def replace(self, damage: Damage, mine: Identity, table: bytes) -> Path:
        """Set everything aside and begin anew as `mine`; a crash on the way is mended by doing it again."""
        aside = self._set_aside(damage.aside, "log", "log-begun", "state", "members", "identity.json")
        self.keep_founding_table(table)
        self._write_identity(mine)
        (self.path / "damaged").unlink()
        self._sync()
        return aside

    def set_state_aside(self) -> Path:
        """The state is damaged: begin with an empty one."""
        return self._set_aside(self._free_name(), "state")

    def _free_name(self) -> str:
        number = 1
        while (self.path / f"damaged-{number}").exists():
            number += 1
        return f"damaged-{number}"

    def _set_aside(self, name: str, *parts: str) -> Path:
        aside = self.path / name
        aside.mkdir(exist_ok=True, mode=0o700)
        for part in parts:
            if (self.path / part).exists() and not (aside / part).exists():
                (self.path / part).rename(aside / part)
        for folder in (self.log_path, self.state_path):
            folder.mkdir(exist_ok=True, mode=0o700)
        self._sync()
        return aside

    def _write(self, name: str, data: bytes) -> None:
        new = self.path / f"{name}.new"
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path / name)
        self._sync()

    def _sync(self) -> None:
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
