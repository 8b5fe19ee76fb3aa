"""Kubernetes' `format` library of CEL: named formats, and what is wrong with a string.  Pure.

`format.dns1123Label().validate(text)` is an optional list of faults. Functions of ours give no optional values, so an expression
is rewritten before it is compiled: to one with a function that gives a list.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from controlplane.apiserver.cel.messages import tokens
from controlplane.objects import meta
from controlplane.objects.rules import names

Faults = list[str]
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CALL: Final = ("format", ".", "", "(", ")", ".", "validate", "(")


def _by(parse: Callable[[str], Any], fault: str) -> Callable[[str], Faults]:
    def check(text: str) -> Faults:
        try:
            parse(text)
        except ValueError:
            return [fault]
        return []

    return check


def _uri(text: str) -> None:
    if not urlsplit(text).scheme and not text.startswith("/"):
        raise ValueError(text)


def _matching_date(text: str) -> Faults:
    return _by(date.fromisoformat, "invalid date")(text) if _DATE.fullmatch(text) else ["invalid date"]


def _prefix(check: Callable[[str], Faults]) -> Callable[[str], Faults]:
    """A name that may end with a dash, because more follows."""
    return lambda text: check(text[:-1] + "a" if text.endswith("-") else text)


FORMATS: Final[dict[str, Callable[[str], Faults]]] = {
    "dns1123Label": lambda text: list(names.label(text)),
    "dns1123Subdomain": lambda text: list(names.subdomain(text)),
    "dns1035Label": lambda text: list(names.label_1035(text)),
    "dns1123LabelPrefix": _prefix(lambda text: list(names.label(text))),
    "dns1123SubdomainPrefix": _prefix(lambda text: list(names.subdomain(text))),
    "dns1035LabelPrefix": _prefix(lambda text: list(names.label_1035(text))),
    "qualifiedName": lambda text: list(names.qualified(text)),
    "labelValue": lambda text: list(names.label_value(text)),
    "uri": _by(_uri, "must be a valid URI"),
    "uuid": _by(UUID, "does not match the UUID format"),
    "byte": _by(lambda text: base64.b64decode(text, validate=True), "invalid base64"),
    "date": _matching_date,
    "datetime": _by(meta.parse_time, "invalid datetime"),
}


def rewritten(text: str) -> str:
    """The expression with each `format.NAME().validate(...)` as `optional.ofNonZeroValue(format.NAME.faults(...))`."""
    if "format." not in text:
        return text
    found = [(kind, part) for kind, part in tokens(text) if kind != "space" or part.startswith("//")]
    out: list[str] = []
    closes: list[bool] = []  # of each open bracket: whether a second one closes with it
    at = 0
    while at < len(found):
        words = [part for _, part in found[at : at + len(_CALL)]]
        if _is_validation(words) and (not out or out[-1] != "."):
            out.append(f"optional.ofNonZeroValue(format.{words[2]}.faults(")
            closes.append(True)
            at += len(_CALL)
            continue
        kind, part = found[at]
        if kind == "other" and part in "([{":
            closes.append(False)
        elif kind == "other" and part in ")]}" and closes and closes.pop():
            part = f"{part})"
        out.append(part)
        at += 1
    return _joined(out)


def _is_validation(words: list[str]) -> bool:
    return len(words) == len(_CALL) and words[2] in FORMATS and [*words[:2], "", *words[3:]] == list(_CALL)


def _joined(parts: list[str]) -> str:
    """Tokens with the space that keeps two words apart."""
    text = ""
    for part in parts:
        if text and (text[-1].isalnum() or text[-1] == "_") and (part[0].isalnum() or part[0] in "_'\""):
            text += " "
        text += part + ("\n" if part.startswith("//") else "")
    return text
