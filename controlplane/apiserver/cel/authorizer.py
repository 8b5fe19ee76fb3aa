"""Kubernetes' authorizer library: `authorizer.group("apps").resource("deployments").check("create").allowed()`.

Functions of the language cannot wait, an authorizer may have to. So an expression is evaluated with the decisions that
are known; the ones that it misses are asked for, and it is evaluated again (expressions have no effects).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

Object = dict[str, Any]
Question = tuple[tuple[str, str], ...]

MARK: Final = "authorizer"  # the key of the maps that stand for checks, and of no other
_DECISION: Final = "decision"
_FIELDS: Final = ("group", "resource", "subresource", "namespace", "name")


@dataclass(slots=True)
class Decided:
    """What is known, (allowed, reason) by question, and what was missed."""

    known: dict[Question, tuple[bool, str]] = field(default_factory=dict)
    missed: set[Question] = field(default_factory=set)


_CURRENT: Final[ContextVar[Decided | None]] = ContextVar("authorizer decisions", default=None)


@contextmanager
def deciding(decided: Decided) -> Iterator[None]:
    """Inside, checks are answered from `decided`."""
    token = _CURRENT.set(decided)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def value(user: str, resource: Object) -> Object:
    """The variable `authorizer`: whose rights are asked for, and `requestResource`, the resource of the request."""
    return {MARK: user, "requestResource": {MARK: user, **resource}}


def _with(name: str) -> Any:
    def step(check: Object, text: str) -> Object:
        return {**{key: part for key, part in check.items() if key != "requestResource"}, name: text}

    return step


def _service_account(check: Object, namespace: str, name: str) -> Object:
    return {MARK: f"system:serviceaccount:{namespace}:{name}"}


def _check(check: Object, verb: str) -> Object:
    if MARK not in check:
        raise ValueError("check is a function of the authorizer")
    parts = {name: str(check.get(name, "")) for name in ("path", *_FIELDS)}
    question: Question = ((MARK, str(check[MARK])), ("verb", verb), *parts.items())
    decided = _CURRENT.get()
    if decided is None:
        raise ValueError("nobody is asking")
    found = decided.known.get(question)
    if found is None:
        decided.missed.add(question)
        raise ValueError("not decided yet")
    return {_DECISION: found[0], "reason": found[1]}


# (name, result, types of the receiver and of what follows, function)
MEMBERS: Final[tuple[tuple[str, str, tuple[str, ...], Any], ...]] = (
    *((name, "map", ("map", "string"), _with(name)) for name in ("path", *_FIELDS)),
    ("serviceAccount", "map", ("map", "string", "string"), _service_account),
    ("check", "map", ("map", "string"), _check),
    ("allowed", "bool", ("map",), lambda decision: bool(decision[_DECISION])),
    ("reason", "string", ("map",), lambda decision: str(decision["reason"])),
    ("errored", "bool", ("map",), lambda decision: False),
    ("error", "string", ("map",), lambda decision: ""),
)
