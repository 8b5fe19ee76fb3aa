"""What holders of leases did and were told; times are seconds of the world's one clock."""

from dataclasses import dataclass, field

__all__ = ["LeaseRecord", "Renewal"]


@dataclass(frozen=True, slots=True)
class Renewal:
    """One grant or keep-alive that was answered. `ttl_seconds` 0: there is no such lease."""

    sent: float
    returned: float
    ttl_seconds: int


@dataclass(slots=True)
class LeaseRecord:
    """One lease with one key attached to it. `gone`: when a member first told that the key was deleted."""

    lease: int
    key: str
    renewals: list[Renewal] = field(default_factory=list)
    is_attached: bool = False  # the put of the key was acknowledged
    revoke_sent: float | None = None  # its holder asked for its end
    gone: float | None = None
