"""The metrics page, in etcd's names: dashboards and alerts made for etcd read it unchanged."""

import resource
from collections.abc import Iterator
from pathlib import Path

from kvstore import compiled
from kvstore.api.node import CLUSTER_VERSION, SERVER_VERSION, Node
from kvstore.api.watch import WatchService
from kvstore.api.watch_hub import WatchHub
from kvstore.mvcc.working import Turn

__all__ = ["Metrics"]

DESCRIPTORS = Path("/proc/self/fd")
STATM = Path("/proc/self/statm")  # sizes in pages; the second is the resident one

Sample = tuple[str, str, str, float]  # name with labels, type, help, value


class Metrics:
    """Reads its figures where they are; counts leader changes itself."""

    def __init__(self, node: Node, hub: WatchHub, watch: WatchService) -> None:
        self._node = node
        self._hub = hub
        self._watch = watch
        self._leader_changes = 0
        self._puts = self._deletes = self._granted = self._ended = 0
        node.member.on_leadership(self._on_leadership)
        node.state.on_turn(self._on_turn)

    def _on_leadership(self, leader: int, term: int) -> None:
        self._leader_changes += bool(leader)

    def _on_turn(self, turn: Turn) -> None:
        for _, changes in turn.revisions:
            deletes = sum(change.is_delete for change in changes)
            self._deletes += deletes
            self._puts += len(changes) - deletes
        for change in turn.leases:
            if change.remaining_seconds is None:
                self._granted += change.ttl_seconds > 0
                self._ended += not change.ttl_seconds

    def render(self) -> str:
        """Return the page in Prometheus' text format."""
        lines = []
        for name, kind, explanation, value in self._samples():
            bare = name.partition("{")[0]
            lines += [f"# HELP {bare} {explanation}", f"# TYPE {bare} {kind}", f"{name} {value:.15g}"]
        return "\n".join([*lines, ""])

    def _samples(self) -> Iterator[Sample]:
        yield from self._of_the_member()
        yield from self._of_the_state()
        yield from self._of_the_process()

    def _of_the_member(self) -> Iterator[Sample]:
        status = self._node.member.status()
        yield "etcd_server_has_leader", "gauge", "Whether a leader exists.", bool(status.leader)
        yield "etcd_server_is_leader", "gauge", "Whether this member leads.", self._node.member.is_leader
        yield "etcd_server_is_learner", "gauge", "Whether this member is a learner.", status.is_learner
        yield "etcd_server_leader_changes_seen_total", "counter", "Leader changes seen.", self._leader_changes
        yield "etcd_server_proposals_committed_total", "gauge", "Committed entries.", status.commit_index
        yield "etcd_server_proposals_applied_total", "gauge", "Applied entries.", status.applied_index
        yield "etcd_server_proposals_pending", "gauge", "Proposals under way.", status.pending_proposals
        yield f'etcd_server_id{{server_id="{status.member_id:x}"}}', "gauge", "This member's id.", 1
        yield f'etcd_server_version{{server_version="{SERVER_VERSION}"}}', "gauge", "Version of the API.", 1
        build = compiled.build().partition(" (")[0]
        yield f'pilothouse_build_info{{kvstore="{build}"}}', "gauge", "Machine code or plain Python.", 1
        version = CLUSTER_VERSION.rpartition(".")[0]
        yield f'etcd_cluster_version{{cluster_version="{version}"}}', "gauge", "Version of the cluster.", 1
        quota = self._node.limits.quota_backend_bytes
        yield "etcd_server_quota_backend_bytes", "gauge", "Quota of the store in bytes.", quota

    def _of_the_state(self) -> Iterator[Sample]:
        state, size = self._node.state, self._node.state.size()
        watchers, behind = self._hub.counts()
        yield "etcd_mvcc_db_total_size_in_bytes", "gauge", "Bytes allocated on disk.", size.allocated
        yield "etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", "Bytes in use.", size.used
        yield "etcd_mvcc_put_total", "counter", "Keys put, as this member has applied them.", self._puts
        yield "etcd_mvcc_delete_total", "counter", "Keys deleted, as this member has applied them.", self._deletes
        yield "etcd_debugging_mvcc_events_total", "counter", "Changes of keys.", self._puts + self._deletes
        yield "etcd_debugging_lease_granted_total", "counter", "Leases granted.", self._granted
        yield "etcd_debugging_lease_revoked_total", "counter", "Leases revoked or expired.", self._ended
        yield "etcd_debugging_auth_revision", "gauge", "Revision of the users and roles.", state.guard.revision
        yield "etcd_debugging_mvcc_current_revision", "gauge", "Newest revision.", state.revision
        yield "etcd_debugging_mvcc_compact_revision", "gauge", "Compacted revision.", state.compacted
        yield "etcd_debugging_mvcc_watch_stream_total", "gauge", "Open watch streams.", self._watch.stream_count
        yield "etcd_debugging_mvcc_watcher_total", "gauge", "Watchers.", watchers
        yield "etcd_debugging_mvcc_slow_watcher_total", "gauge", "Watchers that are behind.", behind

    def _of_the_process(self) -> Iterator[Sample]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        open_files, most_files = _open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for name in ("process_open_fds", "os_fd_used"):
            yield name, "gauge", "Open file descriptors.", open_files
        for name in ("process_max_fds", "os_fd_limit"):
            yield name, "gauge", "File descriptors that may be open.", most_files
        yield "process_cpu_seconds_total", "counter", "CPU time.", usage.ru_utime + usage.ru_stime
        yield "process_resident_memory_bytes", "gauge", "Resident size in bytes.", _resident_bytes(usage.ru_maxrss)


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
