"""MemberConfig: one member's names, addresses, timing and limits. Field names are etcd's flags, with their units.

    MemberConfig.from_flags({"name": "one", "initial-cluster": "one=http://127.0.0.1:2380", ...})
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from kvstore.member.ports import MemberInfo
from kvstore.raft.core import RaftConfig
from kvstore.storage.data_dir import Identity

_NEW_STATES = ("new", "existing")
RECOVERIES = ("damage", "always", "never")
_NO_FLAG = {"is_flag": False}


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """Everything that a member is told at start. Raises ValueError where the parts do not fit together."""

    name: str = "default"
    data_dir: Path = Path("default.etcd")
    listen_client_urls: tuple[str, ...] = ("http://localhost:2379",)
    advertise_client_urls: tuple[str, ...] = ("http://localhost:2379",)
    listen_peer_urls: tuple[str, ...] = ("http://localhost:2380",)
    initial_advertise_peer_urls: tuple[str, ...] = ("http://localhost:2380",)
    initial_cluster: tuple[tuple[str, str], ...] = ()  # (name, URL); a name may come more than once
    initial_cluster_state: str = "new"
    initial_cluster_token: str = "etcd-cluster"
    heartbeat_interval_milliseconds: int = 100
    election_timeout_milliseconds: int = 1000
    snapshot_count: int = 10_000  # applied entries between compactions of the log
    snapshot_catchup_entries: int = 5_000  # entries that stay for followers that lag, at most half of snapshot_count
    log_limit_bytes: int = 64 << 20  # the log is compacted earlier when it grows beyond this
    backend_batch_interval_milliseconds: int = 500  # the state is committed at least so often, ...
    backend_batch_limit: int = 10_000  # ... and after so many applied entries
    quota_backend_bytes: int = 2 << 30
    max_request_bytes: int = 1536 << 10
    max_txn_ops: int = 128
    max_concurrent_streams: int = 2**32 - 1
    max_pending_proposals: int = 20_000  # beyond it: etcdserver: too many requests
    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    peer_cert_file: str = ""
    peer_key_file: str = ""
    peer_trusted_ca_file: str = ""
    peer_client_cert_auth: bool = False
    strict_reconfig_check: bool = True  # refuse changes of membership that could cost the quorum
    max_learners: int = 1
    force_new_cluster: bool = False  # go on alone with the data of a lost cluster
    recover_from_peers: str = "damage"  # what the other members give back: damage, always (missing files too), or never
    disk_thread: bool = True  # the log is fsynced in a thread of its own while the turn goes on, not in the turn
    identity: Identity | None = field(default=None, metadata=_NO_FLAG)  # once known, it counts; else it is derived
    founding_table: bytes = field(default=b"", repr=False, metadata=_NO_FLAG)  # of the cluster that was joined
    ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.initial_cluster:
            pairs = tuple((self.name, url) for url in self.initial_advertise_peer_urls)
            object.__setattr__(self, "initial_cluster", pairs)
        if self.initial_cluster_state not in _NEW_STATES:
            raise ValueError(f"initial-cluster-state must be new or existing, not {self.initial_cluster_state!r}")
        if self.election_timeout_milliseconds < 5 * self.heartbeat_interval_milliseconds:
            raise ValueError("election-timeout must be at least 5 times heartbeat-interval")
        if self.recover_from_peers not in RECOVERIES:
            raise ValueError(f"recover-from-peers must be damage, always or never, not {self.recover_from_peers!r}")
        urls = self._peer_urls()
        if self.name not in urls:
            raise ValueError(f"couldn't find local name {self.name!r} in the initial cluster configuration")
        if set(urls[self.name]) != set(self.initial_advertise_peer_urls):
            raise ValueError(f"--initial-cluster has {','.join(urls[self.name])} for {self.name}, but "
                             f"--initial-advertise-peer-urls has {','.join(self.initial_advertise_peer_urls)}")
        ids = {name: member_id(own, self.initial_cluster_token) for name, own in urls.items()}
        object.__setattr__(self, "ids", ids)

    @classmethod
    def from_flags(cls, flags: Mapping[str, str]) -> "MemberConfig":
        """From etcd's flag names (with dashes, no leading ones) and their texts; raises ValueError."""
        known = {_flag(item.name): item.name for item in fields(cls) if item.init and item.metadata.get("is_flag", True)}
        arguments: dict[str, object] = {}
        for flag, text in flags.items():
            if flag not in known:
                raise ValueError(f"unknown flag: --{flag}")
            arguments[known[flag]] = _parse(flag, known[flag], text)
        return cls(**arguments)  # type: ignore[arg-type]

    def _peer_urls(self) -> dict[str, list[str]]:
        urls: dict[str, list[str]] = {}
        for name, url in self.initial_cluster:
            urls.setdefault(name, []).append(url)
        return urls

    @property
    def member_id(self) -> int:
        return self.ids[self.name] if self.identity is None else self.identity.member_id

    @property
    def cluster_id(self) -> int:
        """As etcd derives it: a hash of the first members' ids."""
        if self.identity is not None:
            return self.identity.cluster_id
        return _cluster_id(self.ids.values())

    def is_own(self, known: Identity) -> bool:
        """Whether that is who these flags speak of. A member's own URL may be another than it was (MemberUpdate)."""
        others = (member for name, member in self.ids.items() if name != self.name)
        return known.member_id == self.ids[self.name] or known.cluster_id == _cluster_id((known.member_id, *others))

    def initial_members(self) -> tuple[MemberInfo, ...]:
        """The members that --initial-cluster names, by id; their client URLs are not known yet."""
        urls = self._peer_urls()
        members = [MemberInfo(self.ids[name], name, tuple(urls[name]), ()) for name in urls]
        return tuple(sorted(members, key=lambda info: info.member_id))

    def own_info(self) -> MemberInfo:
        """This member's row of the table of members."""
        return MemberInfo(self.member_id, self.name, self.initial_advertise_peer_urls, self.advertise_client_urls)

    @property
    def tick_seconds(self) -> float:
        return self.heartbeat_interval_milliseconds / 1000

    @property
    def election_ticks(self) -> int:
        return math.ceil(self.election_timeout_milliseconds / self.heartbeat_interval_milliseconds)

    @property
    def request_timeout_seconds(self) -> float:
        """How long a request may wait: 5 s for the disks and network, twice an election for a lost leader."""
        return 5 + 2 * self.election_timeout_milliseconds / 1000

    @property
    def backend_batch_ticks(self) -> int:
        return math.ceil(self.backend_batch_interval_milliseconds / self.heartbeat_interval_milliseconds)

    @property
    def request_timeout_ticks(self) -> int:
        return math.ceil(self.request_timeout_seconds / self.tick_seconds)

    def raft_config(self) -> RaftConfig:
        return RaftConfig(self.member_id, election_ticks=self.election_ticks)


def member_id(peer_urls: Sequence[str], token: str) -> int:
    """As etcd derives it: a hash of the sorted URLs and the cluster's token."""
    return _hash(("".join(sorted(peer_urls)) + token).encode())


def _cluster_id(ids: Iterable[int]) -> int:
    numbers = sorted(ids)
    return _hash(struct.pack(f">{len(numbers)}Q", *numbers))


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")


def _flag(name: str) -> str:
    return name.removesuffix("_milliseconds").replace("_", "-")


def _parse(flag: str, name: str, text: str) -> object:
    if flag == "initial-cluster":
        return tuple(_pair(part) for part in text.split(",") if part)
    default = next(item.default for item in fields(MemberConfig) if item.name == name)
    if isinstance(default, bool):
        if text.lower() not in ("", "true", "false", "1", "0"):
            raise ValueError(f"--{flag} must be true or false, not {text!r}")
        return text.lower() in ("", "true", "1")
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError as error:
            raise ValueError(f"--{flag} must be a number, not {text!r}") from error
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return Path(text) if isinstance(default, Path) else text


def _pair(part: str) -> tuple[str, str]:
    name, separator, url = part.strip().partition("=")
    if not separator or not name or "://" not in url:
        raise ValueError(f"--initial-cluster has {part!r} where name=URL is needed")
    return name, url
