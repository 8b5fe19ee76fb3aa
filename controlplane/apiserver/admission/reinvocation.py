"""Who is asked a second time about a creation or change, because somebody changed the object after they saw it.

A webhook or policy that changes an object makes the whole chain run once more (plugins of the server's own included), and in
that second turn those webhooks and policies are asked again whose reinvocationPolicy is IfNeeded and whose answer was about
another object. There is no third turn. One value of `Reinvocation` lives as long as one request's mutating admission.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(slots=True)
class _Plugin:
    """What one plugin (all webhooks, or all policies) did so far."""

    may_again: set[str] = field(default_factory=set)
    must_again: set[str] = field(default_factory=set)
    left: Object | None = None  # the object as its last turn left it


@dataclass(slots=True)
class Reinvocation:
    """`is_second`: this is the second turn; `is_needed`: somebody changed the object."""

    is_second: bool = False
    is_needed: bool = False
    _plugins: dict[str, _Plugin] = field(default_factory=dict)

    def begin(self, plugin: str, obj: Object) -> None:
        """A plugin's turn begins with this object."""
        known = self._plugins.setdefault(plugin, _Plugin())
        if self.is_second and known.left != obj:
            self._again(known)

    def skips(self, plugin: str, name: str) -> bool:
        """Whether a webhook or policy is left out of this turn."""
        return self.is_second and name not in self._plugins[plugin].must_again

    def asked(self, plugin: str, name: str, *, if_needed: bool, changed: bool) -> None:
        """One was asked, and changed the object or not; `if_needed` is its reinvocationPolicy."""
        known = self._plugins[plugin]
        if changed:
            self._again(known)
            self.is_needed = True
        if if_needed:
            known.may_again.add(name)

    def end(self, plugin: str, obj: Object) -> None:
        """A plugin's turn leaves this object."""
        self._plugins[plugin].left = obj

    @staticmethod
    def _again(known: _Plugin) -> None:
        known.must_again |= known.may_again
        known.may_again = set()
