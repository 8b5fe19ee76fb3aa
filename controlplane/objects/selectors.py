"""Label selectors and field selectors.

    parse_labels("app=web,tier in (a, b),!old")      the string of ?labelSelector=
    from_selector({"matchLabels": ..., "matchExpressions": ...})      the LabelSelector object; None matches nothing
    from_map({"app": "web"})                          the map of Services and of RCs; empty matches nothing
    parse_fields("metadata.name=x,status.phase!=Running")             the string of ?fieldSelector=

All answer values with `matches(...)`.  A client's fault is a SelectorError with Kubernetes' words.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

Operator = Literal["in", "notin", "exists", "!", "gt", "lt"]

_TOKEN = re.compile(r"\s*(?:(?P<punctuation>==|!=|=|!|,|\(|\)|<|>)|(?P<word>[^\s=!,()<>]+))")
_END: Final = "end of string"
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")


class SelectorError(ValueError):
    """The text is no selector."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; `values` is sorted."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        try:
            found, limit = int(value or ""), int(self.values[0])
        except ValueError:
            return False
        return found > limit if self.operator == "gt" else found < limit

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "notin" if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
            case _:
                return f"{self.key} {self.operator} ({','.join(self.values)})"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none at all matches everything, unless `nothing`."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def is_everything(self) -> bool:
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        present = labels or {}
        return all(requirement.matches(present) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(nothing=True)


def _sorted(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    return tuple(sorted(requirements, key=lambda requirement: requirement.key))


def from_map(labels: Mapping[str, str] | None) -> LabelSelector:
    """Equality on each pair; an empty map selects nothing, as in a Service."""
    if not labels:
        return NOTHING
    return LabelSelector(_sorted(Requirement(key, "in", (value,)) for key, value in labels.items()))


_OBJECT_OPERATORS: Final[dict[str, Operator]] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_selector(selector: Mapping[str, Any] | None) -> LabelSelector:
    """The LabelSelector object: None selects nothing, {} everything.  Raises SelectorError on an unknown operator."""
    if selector is None:
        return NOTHING
    found = [Requirement(key, "in", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        values = tuple(sorted(expression.get("values") or ()))
        found.append(Requirement(expression.get("key", ""), operator, values))
    return LabelSelector(_sorted(found))


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if (slash and (not _DOMAIN.match(prefix) or len(prefix) > 253)) or not _NAME.match(name) or len(name) > 63:
        raise SelectorError(f'unable to parse requirement: <nil>: Invalid value: "{key}": {_KEY_RULE}')


def _check_value(key: str, value: str, index: int) -> None:
    if value and (not _NAME.match(value) or len(value) > 63):
        where = f"values[{index}][{key}]"
        raise SelectorError(f'unable to parse requirement: {where}: Invalid value: "{value}": {_VALUE_RULE}')


_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@dataclass(slots=True)
class _Parser:
    """Recursive descent over the tokens of a label selector."""

    tokens: list[str]
    at: int = 0
    found: list[Requirement] = field(default_factory=list)

    @property
    def token(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.token
        self.at += 1
        return token

    def parse(self) -> LabelSelector:
        while self.token:
            self.found.append(self.requirement())
            if self.token == ",":
                self.take()
                if not self.token or self.token == ",":
                    raise self.unexpected(self.token, "identifier after ','")
            elif self.token:
                raise self.unexpected(self.token, "',' or 'end of string'")
        return LabelSelector(_sorted(self.found))

    def unexpected(self, token: str, wanted: str) -> SelectorError:
        return SelectorError(f"unable to parse requirement: found '{token}', expected: {wanted}")

    def requirement(self) -> Requirement:
        absent = self.token == "!"
        if absent:
            self.take()
        key = self.take()
        if not key or key in "=!(),<>" or key in ("==", "!="):
            raise self.unexpected(key, "identifier" if absent else "!, identifier, or 'end of string'")
        _check_key(key)
        if absent:
            return Requirement(key, "!")
        if self.token in ("", ","):
            return Requirement(key, "exists")
        operator = self.take()
        if operator in ("=", "==", "!="):
            return self.compared(key, "notin" if operator == "!=" else "in")
        if operator in ("<", ">"):
            value = self.take()
            if not re.fullmatch(r"-?\d+", value):
                raise SelectorError(
                    f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": '
                    "for 'Gt', 'Lt' operators, the value must be an integer"
                )
            return Requirement(key, "gt" if operator == ">" else "lt", (value,))
        if operator in ("in", "notin"):
            return self.listed(key, "in" if operator == "in" else "notin")
        raise self.unexpected(operator, "in, notin, =, ==, !=, gt, lt")

    def compared(self, key: str, operator: Operator) -> Requirement:
        value = "" if self.token in ("", ",") else self.take()
        if value in ("=", "==", "!=", "!", "(", ")", "<", ">"):
            raise self.unexpected(value, "identifier")
        _check_value(key, value, 0)
        return Requirement(key, operator, (value,))

    def listed(self, key: str, operator: Operator) -> Requirement:
        if self.take() != "(":
            raise self.unexpected(self.tokens[self.at - 1] if self.at <= len(self.tokens) else "", "'('")
        values: list[str] = []
        expects_value = True
        while (token := self.take()) != ")":
            if not token:
                raise self.unexpected("", "',' or ')'")
            if token == ",":
                if expects_value:
                    values.append("")
                expects_value = True
            elif expects_value:
                values.append(token)
                expects_value = False
            else:
                raise self.unexpected(token, "',' or ')'")
        if expects_value:
            values.append("")
        for index, value in enumerate(values):
            _check_value(key, value, index)
        return Requirement(key, operator, tuple(sorted(set(values))))


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """The value of ?labelSelector=.  Raises SelectorError (answer 400 BadRequest with its text)."""
    tokens: list[str] = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        assert found is not None  # the two alternatives cover every character
        tokens.append(found.group("punctuation") or found.group("word"))
        at = found.end()
    return _Parser(tokens).parse()


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    field: str
    equals: bool
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'=' if self.equals else '!='}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All requirements must hold; none matches everything."""

    requirements: tuple[FieldRequirement, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not self.requirements

    def matches(self, value_of: Callable[[str], str]) -> bool:
        """`value_of(field)` gives the object's value of a field as text ("" when absent)."""
        return all((value_of(wanted.field) == wanted.value) == wanted.equals for wanted in self.requirements)

    def exact(self, name: str) -> str | None:
        """The value that `name` must equal, or None: lets a list of one name become a get."""
        return next((wanted.value for wanted in self.requirements if wanted.field == name and wanted.equals), None)

    def fields(self) -> Sequence[str]:
        return [wanted.field for wanted in self.requirements]

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def _split_fields(text: str) -> list[str]:
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == ",":
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return [part for part in parts if part]


@lru_cache(maxsize=1024)
def parse_fields(text: str) -> FieldSelector:
    """The value of ?fieldSelector=.  Raises SelectorError (answer 400 BadRequest with its text)."""
    found = []
    for term in _split_fields(text):
        matched = re.search(r"(?<!\\)(!=|==|=)", term)
        if matched is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        value = term[matched.end() :]
        if re.search(r"\\(?![\\,=])", value.replace("\\\\", "")) or re.search(r"(?<!\\)=", value):
            raise SelectorError(f"invalid field selector: invalid escape sequence: {value}")
        found.append(FieldRequirement(term[: matched.start()], matched.group() != "!=", re.sub(r"\\(.)", r"\1", value)))
    return FieldSelector(tuple(found))
