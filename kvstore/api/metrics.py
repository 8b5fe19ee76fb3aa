"""The metrics page, in etcd's names: dashboards and alerts made for etcd read it unchanged."""

import resource
from collections.abc import Iterator
from pathlib import Path

from kvstore import compiled
from kvstore.api.node import SERVER_VERSION, Node
from kvstore.api.watch import WatchService
from kvstore.api.watch_hub import WatchHub

__all__ = ["Metrics"]

STATM = Path("/proc/self/statm")  # sizes in pages; the second is the resident one

Sample = tuple[str, str, str, float]  # name with labels, type, help, value


class Metrics:
    """Reads its figures where they are; counts leader changes itself."""

    def __init__(self, node: Node, hub: WatchHub, watch: WatchService) -> None:
        self._node = node
        self._hub = hub
        self._watch = watch
        self._leader_changes = 0
        node.member.on_leadership(self._on_leadership)

    def _on_leadership(self, leader: int, term: int) -> None:
        self._leader_changes += bool(leader)

    def render(self) -> str:
        """Return the page in Prometheus' text format."""
        lines = []
        for name, kind, explanation, value in self._samples():
            bare = name.partition("{")[0]
            lines += [f"# HELP {bare} {explanation}", f"# TYPE {bare} {kind}", f"{name} {value:g}"]
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
        quota = self._node.limits.quota_backend_bytes
        yield "etcd_server_quota_backend_bytes", "gauge", "Quota of the store in bytes.", quota

    def _of_the_state(self) -> Iterator[Sample]:
        state, size = self._node.state, self._node.state.size()
        watchers, behind = self._hub.counts()
        yield "etcd_mvcc_db_total_size_in_bytes", "gauge", "Bytes allocated on disk.", size.allocated
        yield "etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", "Bytes in use.", size.used
        yield "etcd_debugging_mvcc_current_revision", "gauge", "Newest revision.", state.revision
        yield "etcd_debugging_mvcc_compact_revision", "gauge", "Compacted revision.", state.compacted
        yield "etcd_debugging_mvcc_watch_stream_total", "gauge", "Open watch streams.", self._watch.stream_count
        yield "etcd_debugging_mvcc_watcher_total", "gauge", "Watchers.", watchers
        yield "etcd_debugging_mvcc_slow_watcher_total", "gauge", "Watchers that are behind.", behind

    def _of_the_process(self) -> Iterator[Sample]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield "process_cpu_seconds_total", "counter", "CPU time.", usage.ru_utime + usage.ru_stime
        yield "process_resident_memory_bytes", "gauge", "Resident size in bytes.", _resident_bytes(usage.ru_maxrss)


def _resident_bytes(highest_kibibytes: int) -> int:
    """Return the present size where the system tells it (Linux), else the highest so far."""
    try:
        pages = int(STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return highest_kibibytes * 1024
    return pages * resource.getpagesize()
