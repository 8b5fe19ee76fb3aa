"""The functions that Kubernetes adds to CEL, against what its documents show and against slow, obvious twins."""

from __future__ import annotations

import ipaddress
import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.cel import formats, library, program, semver
from controlplane.apiserver.cel.program import CelError

needs_cel = pytest.mark.skipif(not program.is_available(), reason="the extra [cel] is not installed")


def value_of(expression: str, **values: Any) -> Any:
    return program.compile_expression(expression, tuple(values))(values)


@needs_cel
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("quantity('50k').add(20) == quantity('50020')", True),
        ("quantity('50k').add(quantity('20k')).sub(quantity('100k')) == quantity('-30k')", True),
        ("quantity('50k').sub(20000).compareTo(quantity('30000'))", 0),
        ("quantity('50000000G').isInteger()", True),
        ("quantity('1.5').isInteger()", False),
        ("quantity('50k').asApproximateFloat()", 50000.0),
        ("quantity('-1').sign()", -1),
        ("quantity('1Ki') == quantity('1024')", True),
        ("semver('1.2.3').major() * 100 + semver('1.2.3').minor() * 10 + semver('1.2.3').patch()", 123),
        ("semver('v01.01', true).compareTo(semver('1.1.0'))", 0),
        ("isSemver('v1.0') || isSemver('01.0.0') || isSemver('1.0')", False),
        ("isSemver('v1.0', true)", True),
        ("semver('0.1.0').isLessThan(semver('1.0.0')) && semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1'))", True),
        ("ip('127.0.0.1').family() == 4 && ip('::1').isLoopback() && ip('0.0.0.0').isUnspecified()", True),
        ("ip('ff02::1').isLinkLocalMulticast() && ip('224.0.0.1').isLinkLocalMulticast()", True),
        ("ip('224.0.1.1').isLinkLocalMulticast() || ip('169.254.0.1').isGlobalUnicast()", False),
        ("ip('10.0.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()", True),
        ("ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')", True),
        ("isIP('::ffff:1.2.3.4') || isIP('fe80::1%eth0') || isCIDR('10.0.0.0/255.0.0.0')", False),
        ("cidr('192.168.1.7/24').ip() == ip('192.168.1.7')", True),
        ("cidr('192.168.1.7/24').masked() == cidr('192.168.1.0/24')", True),
        ("cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/23'))", False),
        ("'a1b2c3'.findAll('[0-9]', 2)", ["1", "2"]),
        ("!format.dns1123Label().validate('my-label-name').hasValue()", True),
        ("format.dns1123Label().validate('A').value().size()", 1),
        ("format.uuid().validate(['x', 'y'][0]).orValue([]).join() + ')'", "does not match the UUID format)"),
        ("format.date().validate('2021-02-30').hasValue() && !format.byte().validate('aGk=').hasValue()", True),
        ("'format.uuid().validate(1)'.size()", 25),
    ],
)
def test_the_functions_of_kubernetes_are_there(expression: str, value: Any) -> None:
    assert value_of(expression) == value


@needs_cel
@pytest.mark.parametrize(
    "expression",
    ["quantity('1.5').asInteger()", "semver('1.2')", "ip('1.2.3')", "cidr('1.2.3.4')", "quantity('200K')"],
)
def test_what_is_none_fails(expression: str) -> None:
    with pytest.raises(CelError):
        value_of(expression)


PRECEDENCE = [  # semver.org, item 11
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
    "1.0.0", "2.0.0", "2.1.0", "2.1.1", "10.0.0",
]  # fmt: skip


def test_versions_are_ordered_as_their_definition_shows() -> None:
    for (left, one), (right, other) in itertools.product(enumerate(PRECEDENCE), repeat=2):
        compared = semver.compare(semver.parse(one), semver.parse(f"{other}+build"))
        assert compared == (left > right) - (left < right), (one, other)


AMOUNTS = st.tuples(
    st.integers(-(10**15), 10**15), st.sampled_from([("", 1), ("m", Fraction(1, 1000)), ("k", 1000), ("Ki", 1024)])
)


@given(AMOUNTS, AMOUNTS, st.integers(-(10**9), 10**9))
def test_quantities_are_counted_as_fractions_are(one: Any, other: Any, number: int) -> None:
    functions = {(name, parameters): function for name, _, parameters, function in library.MEMBERS}
    make = next(function for name, _, _, function in library.GLOBAL if name == "quantity")
    left, right = (make(f"{amount}{unit}") for amount, (unit, _) in (one, other))
    exact = [Fraction(amount) * factor for amount, (_, factor) in (one, other)]

    def as_fraction(value: dict[str, str]) -> Fraction:
        return Fraction(int(value["quantity"]), 10**9)

    pair = ("map", "map")
    assert as_fraction(functions["add", pair](left, right)) == exact[0] + exact[1]
    assert as_fraction(functions["sub", pair](left, right)) == exact[0] - exact[1]
    assert as_fraction(functions["add", ("map", "int")](left, number)) == exact[0] + number
    assert functions["isLessThan", pair](left, right) == (exact[0] < exact[1])
    assert functions["isInteger", ("map",)](left) == (exact[0].denominator == 1)
    assert (left == right) == (exact[0] == exact[1])


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_a_network_contains_the_addresses_with_its_bits(base: Any, length: int, other: Any) -> None:
    functions = {(name, parameters): function for name, _, parameters, function in library.MEMBERS}
    make = next(function for name, _, _, function in library.GLOBAL if name == "cidr")
    network = make(f"{base}/{length}")
    shift = 32 - length
    same = int(ipaddress.IPv4Address(base)) >> shift == int(ipaddress.IPv4Address(other)) >> shift
    assert functions["containsIP", ("map", "string")](network, str(other)) is same


@given(st.text(alphabet="format.uidvae()[]'\" ,x1", max_size=40))
def test_what_names_no_format_means_what_it_meant(text: str) -> None:
    assert formats.rewritten(text).replace(" ", "") == text.replace(" ", "") or "validate" in text
