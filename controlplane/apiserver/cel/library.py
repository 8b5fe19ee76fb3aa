"""Functions that Kubernetes adds to CEL: lists, regular expressions, URLs, quantities, addresses.  Pure Python values."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from controlplane.objects import quantity
from controlplane.objects.structural.patterns import compile_pattern

# Values of types that the language does not have travel as maps with one of these keys.
_QUANTITY: Final = "quantity"
_URL: Final = "url"
_IP: Final = "ip"
_CIDR: Final = "cidr"


def _can(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _url(text: str) -> dict[str, str]:
    parts = urlsplit(text)
    if not parts.scheme and not text.startswith("/"):
        raise ValueError(f"URL parse error during conversion from string: {text}")
    return {_URL: text}


def _amount(value: Any) -> Any:
    return quantity.parse(value[_QUANTITY] if isinstance(value, dict) else value)


def _quantity(text: str) -> dict[str, str]:
    quantity.parse(text)
    return {_QUANTITY: text}


def _ip(text: str) -> dict[str, str]:
    return {_IP: str(ipaddress.ip_address(text))}


def _cidr(text: str) -> dict[str, str]:
    return {_CIDR: str(ipaddress.ip_interface(text))}


def _network(value: Any) -> Any:
    return ipaddress.ip_interface(value[_CIDR]).network


def _contains_ip(value: Any, other: Any) -> bool:
    return ipaddress.ip_address(other[_IP] if isinstance(other, dict) else other) in _network(value)


def _contains_cidr(value: Any, other: Any) -> bool:
    inner = ipaddress.ip_interface(other[_CIDR] if isinstance(other, dict) else other).network
    outer = _network(value)
    return bool(inner.version == outer.version and inner.subnet_of(outer))


def _family(value: Any) -> int:
    return int(ipaddress.ip_interface(value[_IP] if _IP in value else value[_CIDR]).version)


def _find(text: str, pattern: str) -> str:
    found = compile_pattern(pattern).search(text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str) -> list[str]:
    return [found.group(0) for found in compile_pattern(pattern).finditer(text)]


def _is_sorted(items: list[Any]) -> bool:
    return all(left <= right for left, right in itertools.pairwise(items))


def _compare(left: Any, right: Any) -> int:
    one, other = _amount(left).nanos, _amount(right).nanos
    return int(one > other) - int(one < other)


def _text(value: Any) -> Any:
    return urlsplit(value[_URL])


# name -> (result, function) of one string
GLOBAL: Final[dict[str, tuple[str, Callable[..., Any]]]] = {
    "jsonpatch.escapeKey": ("string", lambda text: text.replace("~", "~0").replace("/", "~1")),
    "isURL": ("bool", _can(_url)),
    "url": ("map", _url),
    "isQuantity": ("bool", _can(quantity.parse)),
    "quantity": ("map", _quantity),
    "isIP": ("bool", _can(ipaddress.ip_address)),
    "ip": ("map", _ip),
    "isCIDR": ("bool", _can(lambda text: ipaddress.ip_interface(text) if "/" in text else _ip("x"))),
    "cidr": ("map", _cidr),
}
# (name, result, types of the receiver and of what follows, function)
MEMBERS: Final[tuple[tuple[str, str, tuple[str, ...], Callable[..., Any]], ...]] = (
    ("find", "string", ("string", "string"), _find),
    ("findAll", "list", ("string", "string"), _find_all),
    ("isSorted", "bool", ("list",), _is_sorted),
    ("sum", "dyn", ("list",), sum),
    ("min", "dyn", ("list",), min),
    ("max", "dyn", ("list",), max),
    ("getScheme", "string", ("map",), lambda value: _text(value).scheme),
    ("getHost", "string", ("map",), lambda value: _text(value).netloc),
    ("getHostname", "string", ("map",), lambda value: _text(value).hostname or ""),
    ("getPort", "string", ("map",), lambda value: str(_text(value).port or "")),
    ("getEscapedPath", "string", ("map",), lambda value: _text(value).path),
    ("getQuery", "map", ("map",), lambda value: parse_qs(_text(value).query)),
    ("isGreaterThan", "bool", ("map", "map"), lambda value, other: _compare(value, other) > 0),
    ("isLessThan", "bool", ("map", "map"), lambda value, other: _compare(value, other) < 0),
    ("compareTo", "int", ("map", "map"), _compare),
    ("isInteger", "bool", ("map",), lambda value: _amount(value).milli_value % 1000 == 0),
    ("asInteger", "int", ("map",), lambda value: _amount(value).milli_value // 1000),
    ("asApproximateFloat", "double", ("map",), lambda value: _amount(value).milli_value / 1000),
    ("sign", "int", ("map",), lambda value: _compare(value, "0")),
    ("family", "int", ("map",), _family),
    ("containsIP", "bool", ("map", "string"), _contains_ip),
    ("containsIP", "bool", ("map", "map"), _contains_ip),
    ("containsCIDR", "bool", ("map", "string"), _contains_cidr),
    ("containsCIDR", "bool", ("map", "map"), _contains_cidr),
    ("prefixLength", "int", ("map",), lambda value: _network(value).prefixlen),
)
