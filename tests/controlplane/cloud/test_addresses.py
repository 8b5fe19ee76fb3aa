"""Addresses of a range: deterministic, never two owners for one."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.cloud.providers.addresses import RangeExhausted, allocate, is_usable

RANGE = IPv4Network("127.9.200.0/29")
NAMES = st.lists(st.text(max_size=8), max_size=6, unique=True)


@given(NAMES)
def test_owners_get_different_addresses_of_the_range_until_it_is_full(names: list[str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        address = allocate(RANGE, name, taken)
        assert address not in taken and is_usable(RANGE, address)
        taken[address] = name


@given(st.text(max_size=8))
def test_the_same_owner_gets_the_same_address_again(name: str) -> None:
    assert allocate(RANGE, name, set()) == allocate(RANGE, name, set())


def test_a_full_range_says_so() -> None:
    taken = {str(address) for address in RANGE.hosts()}
    with pytest.raises(RangeExhausted, match="all 6 addresses"):
        allocate(RANGE, "web", taken)


def test_network_and_broadcast_addresses_and_nonsense_are_not_given_out() -> None:
    answers = [is_usable(RANGE, text) for text in ("127.9.200.0", "127.9.200.7", "127.9.201.1", "x", "127.9.200.6")]
    assert answers == [False, False, False, False, True]
    assert is_usable(IPv4Network("127.9.200.5/32"), "127.9.200.5")
