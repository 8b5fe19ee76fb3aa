"""/debug/api_priority_and_fairness/: levels and queues as tables of comma-separated values, as kube-apiserver prints them."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.context import Answer, Context, Result

ROOT: Final = "/debug/api_priority_and_fairness/"
_TEXT: Final = "text/plain; charset=utf-8"


async def handle(context: Context) -> Result | None:
    """The dump that the path names; None for none."""
    match context.info.path.path.removeprefix(ROOT):
        case "dump_priority_levels":
            lines = _levels(context)
        case "dump_queues":
            lines = _queues(context)
        case _:
            return None
    return Answer("".join(f"{line}\n" for line in lines).encode(), media_type=_TEXT)


def _levels(context: Context) -> list[str]:
    lines = ["PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, NominalSeats"]
    for name, level in sorted(context.services.fairness.levels.items()):
        active = sum(bool(queue.waiting) for queue in level.queues)
        idle = str(not level.requests and not level.waiting).lower()
        lines.append(f"{name}, {active}, {idle}, false, {level.waiting}, {level.requests}, {level.nominal}")
    return lines


def _queues(context: Context) -> list[str]:
    lines = ["PriorityLevelName, Index, PendingRequests, SeatsInUse, NextDispatchR"]
    for name, level in sorted(context.services.fairness.levels.items()):
        lines += [
            f"{name}, {each.index}, {len(each.waiting)}, , {each.served:g}" for each in level.queues if each.waiting
        ]
    return lines
