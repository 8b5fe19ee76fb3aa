"""The metrics page, in etcd's names: dashboards and alerts made for etcd read it unchanged.

Figures are read where they are, when the page is asked for; what is counted for it is counted once a turn, a save, a
message to a member, or at the end of a call.
"""

import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvstore import compiled
from kvstore.api.health import HealthService
from kvstore.api.lessor import Lessor
from kvstore.api.metrics_text import Family, of_calls, of_histogram, render
from kvstore.api.node import CLUSTER_VERSION, SERVER_VERSION, Node
from kvstore.api.watch import WatchService
from kvstore.api.watch_hub import WatchHub
from kvstore.member.figures import Figures
from kvstore.mvcc.working import Turn
from kvstore.rpc import Streaming, Unary

__all__ = ["Metrics", "Sources"]

DESCRIPTORS = Path("/proc/self/fd")
STATM = Path("/proc/self/statm")  # sizes in pages; the second is the resident one
RANGES = ("/etcdserverpb.KV/Range", "/etcdserverpb.KV/RangeStream")

Routes = Mapping[str, Unary | Streaming]


@dataclass(slots=True)
class Sources:
    """Where figures are found. `traffic()` is (received, sent) bytes of clients, set by who listens."""

    node: Node
    hub: WatchHub
    watch: WatchService
    lessor: Lessor
    health: HealthService
    routes: Routes
    figures: Figures = field(default_factory=Figures)
    traffic: Callable[[], tuple[int, int]] = lambda: (0, 0)


class Metrics:
    """Counts leader changes, and what turns do, itself."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._node = sources.node
        self._leader_changes = 0
        self._puts = self._deletes = self._txns = self._granted = self._ended = 0
        self._node.member.on_leadership(self._on_leadership)
        self._node.state.on_turn(self._on_turn)

    def _on_leadership(self, leader: int, term: int) -> None:
        self._leader_changes += bool(leader)

    def _on_turn(self, turn: Turn) -> None:
        for _, changes in turn.revisions:
            deletes = sum(change.is_delete for change in changes)
            self._deletes += deletes
            self._puts += len(changes) - deletes
            self._txns += len(changes) > 1
        for change in turn.leases:
            if change.remaining_seconds is None:
                self._granted += change.ttl_seconds > 0
                self._ended += not change.ttl_seconds

    def render(self) -> str:
        """Return the page in Prometheus' text format."""
        return render(self._families())

    def _families(self) -> Iterator[Family]:
        for name, explanation, value in self._gauges():
            yield Family(name, "gauge", explanation, (("", value),))
        for name, explanation, value in self._counters():
            yield Family(name, "counter", explanation, (("", value),))
        yield from self._names()
        figures = self._sources.figures
        yield of_histogram("etcd_disk_wal_fsync_duration_seconds", "Saves of the log.", figures.fsync)
        yield of_histogram("etcd_disk_backend_commit_duration_seconds", "Commits of the state.", figures.commit)
        yield _by_peer("sent_bytes", "To", "Bytes sent to members.", figures.sent_bytes)
        yield _by_peer("received_bytes", "From", "Bytes received from members.", figures.received_bytes)
        yield _by_peer("sent_failures", "To", "Times that messages to a member may have been lost.", figures.lost)
        yield from of_calls(self._sources.routes)

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        status, state, size = self._node.member.status(), self._node.state, self._node.state.size()
        watchers, behind = self._sources.hub.counts()
        yield "etcd_server_has_leader", "Whether a leader exists.", bool(status.leader)
        yield "etcd_server_is_leader", "Whether this member leads.", self._node.member.is_leader
        yield "etcd_server_is_learner", "Whether this member is a learner.", status.is_learner
        yield "etcd_server_proposals_committed_total", "Committed entries.", status.commit_index
        yield "etcd_server_proposals_applied_total", "Applied entries.", status.applied_index
        yield "etcd_server_proposals_pending", "Proposals under way.", status.pending_proposals
        yield "etcd_server_quota_backend_bytes", "Quota of the store in bytes.", self._node.limits.quota_backend_bytes
        yield "etcd_mvcc_db_total_size_in_bytes", "Bytes allocated on disk.", size.allocated
        yield "etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes in use.", size.used
        yield "etcd_debugging_auth_revision", "Revision of the users and roles.", state.guard.revision
        yield "etcd_debugging_mvcc_current_revision", "Newest revision.", state.revision
        yield "etcd_debugging_mvcc_compact_revision", "Compacted revision.", state.compacted
        yield "etcd_debugging_mvcc_watch_stream_total", "Open watch streams.", self._sources.watch.stream_count
        yield "etcd_debugging_mvcc_watcher_total", "Watchers.", watchers
        yield "etcd_debugging_mvcc_slow_watcher_total", "Watchers that are behind.", behind
        open_files, most_files = _open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for name in ("process_open_fds", "os_fd_used"):
            yield name, "Open file descriptors.", open_files
        for name in ("process_max_fds", "os_fd_limit"):
            yield name, "File descriptors that may be open.", most_files
        highest_kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield "process_resident_memory_bytes", "Resident size in bytes.", _resident_bytes(highest_kibibytes)

    def _counters(self) -> Iterator[tuple[str, str, float]]:
        node, sources = self._node, self._sources
        received, sent = sources.traffic()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield "etcd_server_leader_changes_seen_total", "Leader changes seen.", self._leader_changes
        yield "etcd_server_proposals_failed_total", "Proposals of clients here that failed.", node.failed_proposals
        yield "etcd_server_read_indexes_failed_total", "Linearizable reads here that failed.", node.failed_reads
        yield "etcd_server_slow_read_indexes_total", "Linearizable reads here that timed out.", node.slow_reads
        yield "etcd_server_slow_apply_total", "Turns of more than 100 ms.", sources.figures.slow_turns
        yield "etcd_server_health_success", "Good answers to /health.", sources.health.successes
        yield "etcd_server_health_failures", "Bad answers to /health.", sources.health.failures
        yield "etcd_mvcc_put_total", "Keys put, as this member has applied them.", self._puts
        yield "etcd_mvcc_delete_total", "Keys deleted, as this member has applied them.", self._deletes
        yield "etcd_mvcc_txn_total", "Transactions that changed several keys, as this member has applied them.", self._txns
        ranges = sum(sources.routes[path].tally.started for path in RANGES if path in sources.routes)
        yield "etcd_mvcc_range_total", "Ranges asked of this member.", ranges
        yield "etcd_debugging_mvcc_events_total", "Changes of keys.", self._puts + self._deletes
        yield "etcd_debugging_lease_granted_total", "Leases granted.", self._granted
        yield "etcd_debugging_lease_revoked_total", "Leases revoked or expired.", self._ended
        yield "etcd_debugging_lease_renewed_total", "Renewals by this member as leader.", sources.lessor.renewed
        yield "etcd_debugging_server_lease_expired_total", "Leases that this member ended as leader.", sources.lessor.expired
        yield "etcd_network_client_grpc_received_bytes_total", "Bytes received from gRPC clients.", received
        yield "etcd_network_client_grpc_sent_bytes_total", "Bytes sent to gRPC clients.", sent
        yield "process_cpu_seconds_total", "CPU time.", usage.ru_utime + usage.ru_stime

    def _names(self) -> Iterator[Family]:
        """Figures of 1, whose label is what they tell."""
        build, version = compiled.build().partition(" (")[0], CLUSTER_VERSION.rpartition(".")[0]
        for name, explanation, label, value in (
            ("etcd_server_id", "This member's id.", "server_id", f"{self._node.member.member_id:x}"),
            ("etcd_server_version", "Version of the API.", "server_version", SERVER_VERSION),
            ("etcd_cluster_version", "Version of the cluster.", "cluster_version", version),
            ("pilothouse_build_info", "Machine code or plain Python.", "kvstore", build),
        ):
            yield Family(name, "gauge", explanation, ((f'{{{label}="{value}"}}', 1),))


def _by_peer(what: str, label: str, explanation: str, values: Mapping[int, int]) -> Family:
    samples = tuple((f'{{{label}="{member:x}"}}', count) for member, count in sorted(values.items()))
    return Family(f"etcd_network_peer_{what}_total", "counter", explanation, samples)


def _open_files() -> int:
    """Return how many there are where the system tells it (Linux), else 0."""
    try:
        return len(list(DESCRIPTORS.iterdir()))
    except OSError:
        return 0


def _resident_bytes(highest_kibibytes: int) -> int:
    """Return the present size where the system tells it (Linux), else the highest so far."""
    try:
        pages = int(STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return highest_kibibytes * 1024
    return pages * resource.getpagesize()
