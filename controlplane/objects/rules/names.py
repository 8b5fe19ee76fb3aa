"""The syntax of names, labels and keys, with the words that Kubernetes has for each.

A checker takes a text and answers what is wrong with it: sentences, none when all is well.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

Checker = Callable[[str], Sequence[str]]
_REMEMBERED: Final = 4096  # texts a checker; the same names and labels come again and again

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"


def _longest(text: str, limit: int) -> list[str]:
    return [f"must be no more than {limit} bytes"] if len(text.encode()) > limit else []


def _words(rule: str, pattern: str, *examples: str) -> str:
    """Kubernetes' sentence: the rule, examples, and the expression."""
    shown = "".join(f"'{example}', " if at == 0 else f" or '{example}', " for at, example in enumerate(examples))
    return f"{rule} (e.g. {shown}regex used for validation is '{pattern}')"


_LABEL_WORDS: Final = _words(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_WORDS: Final = _words(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_LABEL_1035_WORDS: Final = _words(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and "
    "end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_QUALIFIED_WORDS: Final = _words(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_TWO_SLASHES_WORDS: Final = (
    f"a qualified name {_QUALIFIED_WORDS} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_VALUE_WORDS: Final = _words(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character",
    f"({_QUALIFIED})?",
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_WORDS: Final = _words(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'", _CONFIG_KEY, "key.name", "KEY_NAME",
    "key-name",
)  # fmt: skip


@lru_cache(_REMEMBERED)
def label(text: str) -> tuple[str, ...]:
    """An RFC 1123 label: namespaces, containers, volumes."""
    return (*_longest(text, 63), *(() if re.fullmatch(_LABEL, text) else (_LABEL_WORDS,)))


@lru_cache(_REMEMBERED)
def subdomain(text: str) -> tuple[str, ...]:
    """An RFC 1123 subdomain: most names."""
    return (*_longest(text, 253), *(() if re.fullmatch(_SUBDOMAIN, text) else (_SUBDOMAIN_WORDS,)))


@lru_cache(_REMEMBERED)
def label_1035(text: str) -> tuple[str, ...]:
    return (*_longest(text, 63), *(() if re.fullmatch(_LABEL_1035, text) else (_LABEL_1035_WORDS,)))


def path_segment(text: str) -> list[str]:
    """Names of RBAC objects: anything that can stand in a path."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{character}'" for character in "/%" if character in text]


def ip_address(text: str) -> list[str]:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


@lru_cache(_REMEMBERED)
def qualified(text: str) -> tuple[str, ...]:
    """A label or annotation key, a finalizer, a condition type: name with an optional domain before a slash."""
    prefix, slash, name = text.rpartition("/")
    found = []
    if slash:
        if not prefix:
            found.append("prefix part must be non-empty")
        elif "/" in prefix:
            return (_TWO_SLASHES_WORDS,)
        else:
            found += [f"prefix part {words}" for words in subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    else:
        found += [f"name part {words}" for words in _longest(name, 63)]
    if not re.fullmatch(_QUALIFIED, name):
        found.append(f"name part {_QUALIFIED_WORDS}")
    return tuple(found)


@lru_cache(_REMEMBERED)
def label_value(text: str) -> tuple[str, ...]:
    return (*_longest(text, 63), *(() if re.fullmatch(f"({_QUALIFIED})?", text) else (_VALUE_WORDS,)))


@lru_cache(_REMEMBERED)
def config_key(text: str) -> tuple[str, ...]:
    """A key of a ConfigMap or Secret."""
    found = _longest(text, 253)
    if not re.fullmatch(_CONFIG_KEY, text):
        found.append(_CONFIG_KEY_WORDS)
    elif text == ".":
        found.append("must not be '.'")
    elif text.startswith(".."):
        found.append("must not be '..'" if text == ".." else "must not start with '..'")
    return tuple(found)


def environment_variable(text: str) -> list[str]:
    """Any printable ASCII but "="."""
    if not text:
        return ["environment variable name must not be empty"]
    if all(" " <= character <= "~" and character != "=" for character in text):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '=', "
        "regex used for validation is '[ -<>-~]+'"
    ]


@lru_cache(_REMEMBERED)
def port_name(text: str) -> tuple[str, ...]:
    """An IANA service name."""
    found = []
    if len(text) > 15:
        found.append("must be no more than 15 characters")
    if not re.fullmatch(r"[a-z0-9-]*", text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return tuple(found)
