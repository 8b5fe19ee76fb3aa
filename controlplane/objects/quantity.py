"""Exact quantities: "250m", "1.5Gi", "1e3", 2.

A quantity is an integer of billionths (Kubernetes keeps no finer part and rounds up to it) and the format it was
written in, which decides how it is written back: `str(parse("1024Mi")) == "1Gi"`, `str(parse("0.5")) == "500m"`.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, Self

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

NANOS_PER_UNIT: Final = 10**9
_NANOS_PER_MILLI: Final = 10**6
_MOST_NANOS: Final = (2**63 - 1) * NANOS_PER_UNIT  # Kubernetes caps what it cannot hold

PATTERN: Final = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_SYNTAX = re.compile(PATTERN.replace("$", r"\Z"))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)\Z")
_EXPONENT = re.compile(r"[eE]([+-]?\d+)\Z")
_DECIMAL: Final[dict[str, int]] = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY: Final[dict[str, int]] = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX: Final = {power: suffix for suffix, power in _BINARY.items()}
_MOST_EXPONENT: Final = 4096  # longer ones only burn time


class QuantityError(ValueError):
    """The text is no quantity; the message is Kubernetes'."""


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An amount; compares and hashes by it (and by format, last)."""

    nanos: int
    format: Format = "DecimalSI"

    @property
    def value(self) -> int:
        """Whole units, rounded up."""
        return -(-self.nanos // NANOS_PER_UNIT)

    @property
    def milli_value(self) -> int:
        """Thousandths, rounded up."""
        return -(-self.nanos // _NANOS_PER_MILLI)

    def __add__(self, other: Self) -> "Quantity":
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Self) -> "Quantity":
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nanos, self.format)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __str__(self) -> str:
        """The canonical form, as the API writes it."""
        units, rest = divmod(abs(self.nanos), NANOS_PER_UNIT)
        if self.format == "BinarySI" and not rest and units >= 1024:
            return _sign(self.nanos) + _binary(units)
        return _sign(self.nanos) + _decimal(abs(self.nanos), exponent_form=self.format == "DecimalExponent")


def _sign(nanos: int) -> str:
    return "-" if nanos < 0 else ""


def _binary(units: int) -> str:
    power = 0
    while power < 6 and not units % 1024:
        units //= 1024
        power += 1
    return f"{units}{_BINARY_SUFFIX[power] if power else ''}"


def _decimal(nanos: int, *, exponent_form: bool) -> str:
    if not nanos:
        return "0"
    exponent = -9
    while not nanos % 1000:
        nanos //= 1000
        exponent += 3
    if exponent_form:
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    suffix = _DECIMAL_SUFFIX.get(exponent)
    return f"{nanos}{suffix}" if suffix is not None else f"{nanos}e{exponent}"


@lru_cache(maxsize=8192)
def _parse(text: str) -> Quantity:
    if not text:
        raise QuantityError("quantities must not be empty")
    found = _SYNTAX.match(text)
    if found is None:
        raise QuantityError(f"quantities must match the regular expression '{PATTERN}'")
    number, suffix = found.groups()
    if not _NUMBER.match(number):
        raise QuantityError("unable to parse numeric part of quantity")
    amount = Decimal(number)
    sign, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    mantissa = int("".join(map(str, digits)) or "0")
    form: Format = "DecimalSI"
    if suffix in _BINARY:
        form = "BinarySI"
        mantissa <<= 10 * _BINARY[suffix]
    elif suffix in _DECIMAL:
        exponent += _DECIMAL[suffix]
    else:
        power = _EXPONENT.match(suffix)
        if power is None or abs(int(power.group(1))) > _MOST_EXPONENT:
            raise QuantityError("unable to parse quantity's suffix")
        form = "DecimalExponent"
        exponent += int(power.group(1))
    return Quantity(_to_nanos(mantissa, exponent, negative=bool(sign)), form)


def _to_nanos(mantissa: int, exponent: int, *, negative: bool) -> int:
    """Away from zero when it is finer than a billionth, as Kubernetes does; never beyond what it can hold."""
    shift = exponent + 9
    scale: int = 10 ** abs(shift)
    nanos = mantissa * scale if shift >= 0 else -(-mantissa // scale)
    nanos = min(nanos, _MOST_NANOS)
    return -nanos if negative else nanos


def parse(value: str | int | float) -> Quantity:
    """The quantity a JSON string or number stands for.  Raises QuantityError."""
    if isinstance(value, str):
        return _parse(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(f"quantities must match the regular expression '{PATTERN}'")
    return _parse(format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value))


def canonical(value: str | int | float) -> str:
    """As the API writes it back: `canonical("1000m") == "1"`.  Raises QuantityError."""
    return str(parse(value))


def milli_value(value: str | int | float) -> int:
    """Thousandths, rounded up: `milli_value("1.5") == 1500`.  Raises QuantityError."""
    return parse(value).milli_value


def units(value: str | int | float) -> int:
    """Whole units, rounded up: `units("1Ki") == 1024`.  Raises QuantityError."""
    return parse(value).value


def from_milli(milli: int, form: Format = "DecimalSI") -> Quantity:
    """`str(from_milli(1500)) == "1500m"`."""
    return Quantity(milli * _NANOS_PER_MILLI, form)


def from_units(amount: int, form: Format = "DecimalSI") -> Quantity:
    """`str(from_units(2**30, "BinarySI")) == "1Gi"`."""
    return Quantity(amount * NANOS_PER_UNIT, form)
