"""Leases end neither early nor never, and nobody is told of a lease that is no more.

early     a key lives until `sent + TTL` of every acknowledged grant and renewal, where nobody revoked it; a clock that
          runs `fastest` times as quick as time itself may end it so much sooner
renewed   a renewal that was sent after the end is not acknowledged
late      at the end of the run, long after the last renewal, the key is gone
refused   where a renewal says that there is no lease, its key is gone by then
"""

from collections.abc import Iterable, Iterator

from chaos.leasing import LeaseRecord

__all__ = ["check"]


def check(records: Iterable[LeaseRecord], *, fastest: float = 1.0, slack_seconds: float = 0.0) -> list[str]:
    """Return a line per broken promise."""
    return [
        f"lease {record.lease:x} ({record.key}): {text}"
        for record in records
        for text in _of_lease(record, fastest, slack_seconds)
    ]


def _of_lease(record: LeaseRecord, fastest: float, slack: float) -> Iterator[str]:
    if not record.is_attached:
        return
    gone = record.gone
    if gone is None:
        yield "late: it never ended"
        return
    for renewal in record.renewals:
        if renewal.ttl_seconds:
            if record.revoke_sent is not None and gone >= record.revoke_sent:
                continue
            if renewal.sent > gone:
                yield f"renewed: {renewal} was acknowledged, and it had ended at {gone:.3f}"
            elif gone < renewal.sent + renewal.ttl_seconds / fastest - slack:
                yield f"early: it ended at {gone:.3f}, {renewal}"
        elif renewal.returned < gone - slack:
            yield f"refused: {renewal}, but it ended at {gone:.3f} only"
