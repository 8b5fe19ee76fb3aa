"""Functions that Kubernetes adds to CEL: lists, regular expressions, URLs, quantities, addresses.  Pure Python values."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from controlplane.apiserver.cel import formats, semver
from controlplane.objects import quantity
from controlplane.objects.structural.patterns import compile_pattern

# Values of types that the language does not have travel as maps with one of these keys.
_QUANTITY: Final = "quantity"
_NANOS: Final = 10**9
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


def _nanos(value: Any) -> int:
    return int(value[_QUANTITY])


def _as_quantity(nanos: int) -> dict[str, str]:
    """Equal amounts are equal values, however they were written; as text, because the language's numbers have 64 bits."""
    return {_QUANTITY: str(nanos)}


def _quantity(text: str) -> dict[str, str]:
    return _as_quantity(quantity.parse(text).nanos)


def _sum(value: Any, other: Any, sign: int = 1) -> dict[str, str]:
    return _as_quantity(_nanos(value) + sign * (other * _NANOS if isinstance(other, int) else _nanos(other)))


def _as_integer(value: Any) -> int:
    whole, rest = divmod(_nanos(value), _NANOS)
    if rest or not -(2**63) <= whole < 2**63:
        raise ValueError("cannot convert value to integer")
    return whole


def _ip(text: str) -> dict[str, str]:
    return {_IP: str(_strict_ip(text))}


def _cidr(text: str) -> dict[str, str]:
    return {_CIDR: str(_strict_cidr(text))}


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
    """Of two quantities or two versions."""
    if semver.is_version(left) and semver.is_version(right):
        return semver.compare(left, right)
    one, other = _nanos(left), _nanos(right)
    return int(one > other) - int(one < other)


def _is_version(text: str, normalize: bool = False) -> bool:
    return _can(lambda given: semver.parse(given, normalize))(text)


def _strict_ip(text: str) -> Any:
    """An address as Kubernetes takes it: no zone, and no IPv4 address in an IPv6 one."""
    found = ipaddress.ip_address(text)
    if "%" in text or (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None):
        raise ValueError(f"IP Address {text!r} with a zone or a mapped IPv4 address is not allowed")
    return found


def _strict_cidr(text: str) -> Any:
    if "/" not in text:
        raise ValueError(f"network address parse error during conversion from string: {text}")
    address, _, length = text.partition("/")
    if not length.isdecimal():
        raise ValueError(f"network address parse error during conversion from string: {text}")
    _strict_ip(address)
    return ipaddress.ip_interface(text)


def _of_ip(name: str) -> Callable[[Any], bool]:
    return lambda value: bool(getattr(ipaddress.ip_address(value[_IP]), name))


def _is_global_unicast(value: Any) -> bool:
    """As in Go: neither broadcast, unspecified, loopback, multicast nor link-local; private addresses are."""
    found = ipaddress.ip_address(value[_IP])
    special = found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local
    return not special and str(found) != "255.255.255.255"


def _is_link_local_multicast(value: Any) -> bool:
    found = ipaddress.ip_address(value[_IP])
    if found.version == 4:
        return found in ipaddress.ip_network("224.0.0.0/24")
    return found.is_multicast and found.packed[1] & 0x0F == 0x02


def _text(value: Any) -> Any:
    return urlsplit(value[_URL])


Function = tuple[str, str, tuple[str, ...], Callable[..., Any]]

# (name, result, types of the parameters, function)
GLOBAL: Final[tuple[Function, ...]] = (
    ("jsonpatch.escapeKey", "string", ("string",), lambda text: text.replace("~", "~0").replace("/", "~1")),
    ("isURL", "bool", ("string",), _can(_url)),
    ("url", "map", ("string",), _url),
    ("isQuantity", "bool", ("string",), _can(quantity.parse)),
    ("quantity", "map", ("string",), _quantity),
    ("isIP", "bool", ("string",), _can(_strict_ip)),
    ("ip", "map", ("string",), _ip),
    ("ip.isCanonical", "bool", ("string",), lambda text: str(_strict_ip(text)) == text),
    ("isCIDR", "bool", ("string",), _can(_strict_cidr)),
    ("cidr", "map", ("string",), _cidr),
    ("isSemver", "bool", ("string",), _is_version),
    ("isSemver", "bool", ("string", "bool"), _is_version),
    ("semver", "map", ("string",), semver.parse),
    ("semver", "map", ("string", "bool"), semver.parse),
    *((f"format.{name}.faults", "list", ("string",), check) for name, check in formats.FORMATS.items()),
)
# (name, result, types of the receiver and of what follows, function)
MEMBERS: Final[tuple[Function, ...]] = (
    ("find", "string", ("string", "string"), _find),
    ("findAll", "list", ("string", "string"), _find_all),
    (
        "findAll",
        "list",
        ("string", "string", "int"),
        lambda text, pattern, most: _find_all(text, pattern)[: most if most >= 0 else None],
    ),
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
    ("add", "map", ("map", "map"), _sum),
    ("add", "map", ("map", "int"), _sum),
    ("sub", "map", ("map", "map"), lambda value, other: _sum(value, other, -1)),
    ("sub", "map", ("map", "int"), lambda value, other: _sum(value, other, -1)),
    ("isInteger", "bool", ("map",), lambda value: _can(_as_integer)(value)),
    ("asInteger", "int", ("map",), _as_integer),
    ("asApproximateFloat", "double", ("map",), lambda value: _nanos(value) / _NANOS),
    ("sign", "int", ("map",), lambda value: (_nanos(value) > 0) - (_nanos(value) < 0)),
    ("major", "int", ("map",), lambda value: semver.part(value, 0)),
    ("minor", "int", ("map",), lambda value: semver.part(value, 1)),
    ("patch", "int", ("map",), lambda value: semver.part(value, 2)),
    ("family", "int", ("map",), _family),
    ("isUnspecified", "bool", ("map",), _of_ip("is_unspecified")),
    ("isLoopback", "bool", ("map",), _of_ip("is_loopback")),
    ("isLinkLocalUnicast", "bool", ("map",), _of_ip("is_link_local")),
    ("isLinkLocalMulticast", "bool", ("map",), _is_link_local_multicast),
    ("isGlobalUnicast", "bool", ("map",), _is_global_unicast),
    ("containsIP", "bool", ("map", "string"), _contains_ip),
    ("containsIP", "bool", ("map", "map"), _contains_ip),
    ("containsCIDR", "bool", ("map", "string"), _contains_cidr),
    ("containsCIDR", "bool", ("map", "map"), _contains_cidr),
    ("ip", "map", ("map",), lambda value: {_IP: str(ipaddress.ip_interface(value[_CIDR]).ip)}),
    ("masked", "map", ("map",), lambda value: {_CIDR: str(_network(value))}),
    ("prefixLength", "int", ("map",), lambda value: _network(value).prefixlen),
)
