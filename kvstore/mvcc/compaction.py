"""Compaction: the logical mark at once, the garbage in slices.

A compaction at C makes reads below C fail from then on. What it makes garbage, each version superseded at or before C
and each event before C, is removed by `scrub` in bounded steps, driven by the events themselves: the event of a key at
revision r says that the key's versions before r are superseded. Events of C stay: a watcher may start there.
"""

from kvstore.mvcc import errors, layout
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.working import Working

__all__ = ["compact", "scrub"]


def compact(working: Working, revision: int) -> Failure | None:
    """Move the compacted revision up, or say why not."""
    if revision <= working.compacted:
        return errors.COMPACTED
    if revision > working.revision:
        return errors.FUTURE_REVISION
    working.compacted = revision
    return None


def scrub(working: Working, max_events: int) -> bool:
    """Remove the garbage that up to `max_events` events point to (always whole ones); return whether more is left."""
    if working.scrubbed >= working.compacted:
        return False
    transaction, compacted = working.transaction, working.compacted
    done: list[tuple[bytes, bytes]] = []
    for entry in transaction.scan(layout.EVENTS, end=layout.revision_key(compacted + 1)):
        if len(done) >= max_events:
            break
        done.append(entry)
    for stored_key, stored in done:
        revision = layout.event_revision(stored_key)
        owner = layout.escape(stored[1:])
        at_revision = owner + layout.revision_key(revision)
        died = revision < compacted and transaction.get(layout.HISTORY, at_revision + layout.KIND_DELETE) is not None
        bound = at_revision + layout.AFTER_KINDS if died else at_revision
        transaction.delete_range(layout.HISTORY, owner, bound)
        if revision < compacted:
            transaction.delete(layout.EVENTS, stored_key)
    # events of the compacted revision itself stay, so whatever is left among them waits for the next compaction
    if len(done) < max_events or layout.event_revision(done[-1][0]) == compacted:
        working.scrubbed = compacted
    return working.scrubbed < compacted
