"""What watchers asked for and what they were told; and what truly happened, to compare with."""

from dataclasses import dataclass, field

__all__ = ["Event", "Response", "Stream"]


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key. `previous`: the mod revision before it; None: there was none, or it was not told."""

    revision: int
    key: str
    is_delete: bool
    value: str = ""
    create_revision: int = 0
    version: int = 0
    previous: int | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One message of a stream. Without events, and neither created nor cancelled, it is a progress notice."""

    revision: int  # of the header
    events: tuple[Event, ...] = ()
    is_created: bool = False
    compact_revision: int = 0  # not 0: cancelled, because the history up to there is gone
    is_fragment: bool = False

    @property
    def is_progress(self) -> bool:
        """Whether it says that all up to `revision` has been told."""
        return not (self.events or self.is_created or self.compact_revision)


@dataclass(slots=True)
class Stream:
    """One watcher's life on one connection. `start_revision` 0: from what is current when it is created."""

    watcher: str
    member: str
    first_key: str
    end_key: str  # "": the first key alone; "\0": all from the first
    start_revision: int
    with_previous: bool = False
    no_put: bool = False
    no_delete: bool = False
    responses: list[Response] = field(default_factory=list)

    def wants(self, event: Event) -> bool:
        """Whether the event belongs to this watcher."""
        if (event.is_delete and self.no_delete) or (not event.is_delete and self.no_put):
            return False
        if not self.end_key:
            return event.key == self.first_key
        return event.key >= self.first_key and (self.end_key == "\0" or event.key < self.end_key)
