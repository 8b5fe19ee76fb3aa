"""The table of members: what is refused, and that nothing happens twice."""

import pytest

from kvstore.api.cluster import peer_urls
from kvstore.member.membership import (
    MEMBER_EXISTS,
    MEMBER_NOT_FOUND,
    NOT_A_LEARNER,
    NOT_ENOUGH_STARTED,
    TOO_MANY_LEARNERS,
    URLS_EXIST,
    Change,
    ChangeKind,
    Membership,
    decode_change,
    decode_membership,
    encode_change,
)
from kvstore.member.ports import Failed, MemberInfo
from kvstore.raft.configuration import make_configuration

ADD, REMOVE, UPDATE, PROMOTE = ChangeKind.ADD, ChangeKind.REMOVE, ChangeKind.UPDATE, ChangeKind.PROMOTE


def url(member: int) -> str:
    return f"http://m{member}:2380"


def table(*members: int) -> Membership:
    return Membership(MemberInfo(member, f"m{member}", (url(member),), ()) for member in members)


def shape(found: Membership) -> list[tuple[int, bool]]:
    return [(row.member_id, row.is_learner) for row in found.listed()]


def test_members_come_and_go() -> None:
    known = table(1, 2)
    assert known.apply(5, Change(ADD, 3, (url(3),), is_learner=True)) is None
    assert shape(known) == [(1, False), (2, False), (3, True)]
    assert known.apply(6, Change(PROMOTE, 3)) is None
    assert known.apply(7, Change(UPDATE, 3, ("http://elsewhere:1",))) is None
    assert known.apply(8, Change(REMOVE, 1)) is None
    assert shape(known) == [(2, False), (3, False)]
    row = known.get(3)
    assert row is not None
    assert row.peer_urls == ("http://elsewhere:1",)
    assert known.is_removed(1)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (Change(ADD, 1, (url(9),)), MEMBER_EXISTS),
        (Change(ADD, 9, (url(2),)), URLS_EXIST),
        (Change(ADD, 9, (url(9),), is_learner=True), TOO_MANY_LEARNERS),
        (Change(ADD, 4, (url(4),)), MEMBER_NOT_FOUND),  # it was removed before, which etcd says so
        (Change(REMOVE, 9), MEMBER_NOT_FOUND),
        (Change(REMOVE, 4), MEMBER_NOT_FOUND),
        (Change(UPDATE, 9, (url(9),)), MEMBER_NOT_FOUND),
        (Change(UPDATE, 1, (url(2),)), URLS_EXIST),
        (Change(PROMOTE, 9), MEMBER_NOT_FOUND),
        (Change(PROMOTE, 1), NOT_A_LEARNER),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(change: Change, refusal: Failed) -> None:
    known = table(1, 2, 4)
    known.apply(1, Change(ADD, 3, (url(3),), is_learner=True))
    known.apply(2, Change(REMOVE, 4))
    before = shape(known)
    assert known.apply(3, change) == refusal
    assert shape(known) == before


def test_the_last_voter_stays_even_beside_a_learner() -> None:
    known = table(1)
    known.apply(1, Change(ADD, 2, (url(2),), is_learner=True))
    assert known.apply(2, Change(REMOVE, 1)) == NOT_ENOUGH_STARTED
    assert known.apply(3, Change(REMOVE, 2)) is None


def test_more_learners_are_taken_where_the_flag_says_so() -> None:
    known = table(1)
    for member in (2, 3):
        assert known.apply(member, Change(ADD, member, (url(member),), is_learner=True, max_learners=2)) is None


def test_entries_that_are_applied_already_do_nothing() -> None:
    """The table that was saved may be newer than the mark of the log it was saved with."""
    entries = [Change(ADD, 3, (url(2),)), Change(REMOVE, 2), Change(ADD, 4, (url(2),))]
    first = table(1, 2)
    refusals = [first.apply(index, change) for index, change in enumerate(entries, 1)]
    assert refusals == [URLS_EXIST, None, None]
    again = decode_membership(first.encode())
    for index, change in enumerate(entries, 1):
        again.apply(index, change)
    assert again.encode() == first.encode()
    assert shape(again) == [(1, False), (4, False)]


def test_a_member_that_publishes_keeps_the_peer_urls_it_was_given() -> None:
    known = table(1)
    known.apply(1, Change(UPDATE, 1, ("http://new:1",)))
    known.publish(2, MemberInfo(1, "renamed", (url(1),), ("http://client:1",)))
    known.publish(3, MemberInfo(7, "stranger", (url(7),), ()))
    assert known.listed() == (MemberInfo(1, "renamed", ("http://new:1",), ("http://client:1",)),)


def test_who_was_removed_is_still_reached_while_the_configuration_has_it() -> None:
    known = table(1, 2)
    known.apply(1, Change(REMOVE, 2))
    assert {peer.member_id for peer in known.peers(make_configuration([1, 2]))} == {1, 2}
    assert {peer.member_id for peer in known.peers(make_configuration([1]))} == {1}


def test_isolation_leaves_one_voter() -> None:
    known = table(1, 2, 3)
    assert known.apply(1, Change(ChangeKind.ISOLATE, 2)) is None
    assert shape(known) == [(2, False)]
    assert known.is_removed(1)
    assert known.is_removed(3)


def test_a_change_survives_its_encoding() -> None:
    change = Change(ADD, 2**64 - 1, (url(1), url(2)), is_learner=True, max_learners=3)
    assert decode_change(encode_change(change)) == change


@pytest.mark.parametrize(
    "text", ["", "nonsense", "http://host", "ftp://host:1", "http://host:1/path", "http://:port", "host:2380", "http://host:x"]
)
def test_peer_urls_that_etcd_refuses_are_refused(text: str) -> None:
    assert peer_urls([url(1), text]) is None


def test_peer_urls_are_kept_in_order() -> None:
    assert peer_urls([]) is None
    assert peer_urls([" http://b:1", "http://a:1 "]) == ("http://a:1", "http://b:1")


def test_a_member_is_replaced_once_by_another_id_at_its_urls() -> None:
    known, change = table(1, 2, 3), Change(ChangeKind.REPLACE, 2, new_id=9)
    assert decode_change(encode_change(change)) == change
    assert known.apply(5, change) is None
    assert (shape(known), known.is_removed(2)) == ([(1, False), (3, False), (9, False)], True)
    successor = decode_membership(known.encode()).successor(2)
    assert successor == MemberInfo(9, "", (url(2),), ())
    assert known.apply(6, Change(ChangeKind.REPLACE, 2, new_id=10)) == MEMBER_NOT_FOUND
    assert known.apply(7, Change(ChangeKind.REPLACE, 3, new_id=2)) == MEMBER_EXISTS  # an id never comes back
    known.publish(8, MemberInfo(9, "m2", (url(2),), ("http://m2:2379",)))
    assert known.successor(2) is None  # it has run: nobody else may begin as it
    assert table(1).apply(5, Change(ChangeKind.REPLACE, 1, new_id=9)) == NOT_ENOUGH_STARTED


def test_a_change_that_an_older_version_wrote_is_read() -> None:
    assert decode_change(encode_change(Change(REMOVE, 4))) == Change(REMOVE, 4)
