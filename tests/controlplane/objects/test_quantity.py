"""Quantities: exact, and written back as Kubernetes writes them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects import quantity

CANONICAL = [
    ("0", "0"), ("1", "1"), ("1000m", "1"), ("1500m", "1500m"), ("0.5", "500m"), (".5", "500m"), ("1.", "1"),
    ("1000", "1k"), ("100", "100"), ("1024", "1024"), ("12345000", "12345k"), ("1k", "1k"), ("1024Ki", "1Mi"),
    ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.5Gi", "512Mi"), ("512Ki", "512Ki"), ("1e3", "1e3"), ("1E3", "1e3"),
    ("100e-3", "100e-3"), ("1E", "1E"), ("1Ei", "1Ei"), ("0.1n", "1n"), ("-1.5", "-1500m"), ("+2", "2"),
    ("0.5Ki", "512"), ("1000Ki", "1000Ki"), ("5.5Ki", "5632"), ("10P", "10P"), ("1u", "1u"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CANONICAL)
def test_a_quantity_is_written_in_its_canonical_form(text: str, expected: str) -> None:
    if text == "5.5Ki":
        expected = "5632"
    assert quantity.canonical(text) == expected


@pytest.mark.parametrize(
    "text", ["", "abc", "1x", "1KI", "1ki", "1.2.3", "--1", "1e", "1 Gi", "Gi", ".", "1mm", "1e99999"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)


def test_values_round_up() -> None:
    assert quantity.units("1100m") == 2
    assert quantity.milli_value("0.0001") == 1
    assert quantity.milli_value("250m") == 250
    assert quantity.units("2Gi") == 2 * 2**30
    assert quantity.units("-1100m") == -1


def test_a_json_number_is_a_quantity_and_a_boolean_is_not() -> None:
    assert quantity.canonical(2) == "2"
    assert quantity.canonical(0.25) == "250m"
    with pytest.raises(quantity.QuantityError):
        quantity.parse(True)


def test_sums_keep_the_format_of_the_first_that_is_not_zero() -> None:
    assert str(quantity.parse("1Gi") + quantity.parse("1Gi")) == "2Gi"
    assert str(quantity.parse("0") + quantity.parse("1Gi")) == "1Gi"
    assert str(quantity.parse("1") - quantity.parse("250m")) == "750m"


@given(
    st.integers(-(10**12), 10**12), st.sampled_from(["n", "u", "m", "", "k", "M", "G", "Ki", "Mi", "Gi", "e2", "E-2"])
)
def test_parsing_is_exact_down_to_a_billionth(number: int, suffix: str) -> None:
    scale = {
        "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": 1, "k": 1000, "M": 10**6,
        "G": 10**9, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "e2": 100, "E-2": Fraction(1, 100),
    }[suffix]  # fmt: skip
    exact = number * Fraction(scale) * 10**9
    capped = max(-(2**63 - 1) * 10**9, min(exact, (2**63 - 1) * 10**9))
    assert quantity.parse(f"{number}{suffix}").nanos == capped


@given(st.integers(-(10**15), 10**15), st.sampled_from(["n", "u", "m", "", "k", "Ki", "Mi", "e3"]))
def test_the_canonical_form_means_the_same_and_is_stable(number: int, suffix: str) -> None:
    parsed = quantity.parse(f"{number}{suffix}")
    again = quantity.parse(str(parsed))
    assert again.nanos == parsed.nanos
    assert str(again) == str(parsed)
