"""Without priority and fairness: so many reads and so many writes at a time, the rest is told to come again."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.authn.user import MASTERS, User
from controlplane.apiserver.fairness.classify import Schema
from controlplane.apiserver.fairness.fairness import UNLIMITED, Fairness, Flow
from controlplane.apiserver.fairness.level import Level, Seats, Settings
from controlplane.apiserver.request import RequestInfo

_READING: Final = frozenset({"get", "list", "watch", "head", "options"})


class InFlight(Fairness):
    """Two levels without queues; members of system:masters and watches are not counted."""

    def __init__(self, reading: int, mutating: int) -> None:
        super().__init__(reading + mutating, 0.0)
        self.levels = {}
        self._plain = {name: self._flow(name, limit) for name, limit in (("readOnly", reading), ("mutating", mutating))}

    def _flow(self, name: str, limit: int) -> Flow:
        settings = Settings(name)
        level = self.levels[name] = Level(settings, Seats())
        level.configure(settings, limit)
        flow = Flow(Schema(name, "", name, 0, "", ()), level, "", self.totals)
        flow.headers = ()
        return flow

    def flow(self, user: User, info: RequestInfo) -> Flow | None:
        if info.verb == "watch" or info.path.subresource in UNLIMITED or MASTERS in user.groups:
            return None
        return self._plain["readOnly" if info.verb in _READING else "mutating"]
