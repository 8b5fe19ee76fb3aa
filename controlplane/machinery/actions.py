"""What a plan may ask of the world: values, executed by `controller.py`.

Every action carries its own precondition: a Create has a name that the plan chose (so that doing it twice cannot make two
objects), an Update the resourceVersion it was planned on, a Delete the uid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError

__all__ = ["Action", "Create", "Delete", "Note", "Patch", "Plan", "Update"]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """A core/v1 event to record about an object. `{error}` in the message of a failure note is what went wrong."""

    about: Object
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object whose name is fixed. With `exists_ok` it is as well if somebody else did."""

    resource: Resource
    object: Object
    namespace: str = ""
    subresource: str = ""
    name: str = ""  # of the object that the subresource belongs to
    exists_ok: bool = False
    on_success: Note | None = None
    on_failure: Note | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object if it still has the resourceVersion it carries."""

    resource: Resource
    object: Object
    subresource: str = ""
    on_success: Note | None = None
    on_failure: Note | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """A merge patch (or another kind) of one object; put uid or resourceVersion into its metadata as preconditions."""

    resource: Resource
    name: str
    namespace: str
    patch: Any
    type: Literal["merge", "strategic", "json"] = "merge"
    subresource: str = ""
    missing_ok: bool = False
    on_success: Note | None = None
    on_failure: Note | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete this very object (its uid); it is as well if it is gone. `at_version`: only if it has not changed."""

    resource: Resource
    object: Object
    grace_period_seconds: int | None = None
    propagation: str = ""
    at_version: bool = False
    on_success: Note | None = None
    on_failure: Note | None = None


Action = Create | Update | Patch | Delete


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one key. The fields are in the order of the work.

    `actions` are independent of one another: they run side by side, first one, then two, four, ..., and the first
    failure ends them. Then `status` is written, and `notes` recorded. After a failure `status_after_failure`
    says what status to write instead, and the key comes back after its back-off. `again_after`: seconds until the
    key should be looked at again even if nothing changes.
    """

    actions: tuple[Action, ...] = ()
    status: Update | Patch | None = None
    notes: tuple[Note, ...] = ()
    again_after: float | None = None
    status_after_failure: Callable[[ApiError], Update | Patch | None] | None = None
