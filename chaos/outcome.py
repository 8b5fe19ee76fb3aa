"""How an operation ended for its client."""

import enum

__all__ = ["Outcome"]


class Outcome(enum.StrEnum):
    """UNKNOWN: it may have happened, or may still happen. FAILED: it certainly did not and never will."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
