"""The lease checker passes what a right store does and catches each broken promise."""

from dataclasses import replace

import pytest

from chaos.checkers.lease import check
from chaos.leasing import LeaseRecord, Renewal

RIGHT = LeaseRecord(7, "lease/7", [Renewal(0.0, 0.1, 3), Renewal(2.0, 2.2, 3)], is_attached=True, gone=5.4)


def test_a_lease_that_ends_after_its_last_renewal_has_run_out_passes() -> None:
    assert check([RIGHT]) == []
    assert check([replace(RIGHT, renewals=[*RIGHT.renewals, Renewal(5.5, 5.6, 0)])]) == []


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (replace(RIGHT, gone=4.9), "early"),
        (replace(RIGHT, gone=None), "late"),
        (replace(RIGHT, renewals=[*RIGHT.renewals, Renewal(5.5, 5.6, 3)]), "renewed"),
        (replace(RIGHT, renewals=[*RIGHT.renewals, Renewal(3.5, 3.6, 0)]), "refused"),
    ],
)
def test_a_broken_promise_is_caught(record: LeaseRecord, word: str) -> None:
    assert [text for text in check([record]) if word in text]


def test_what_its_holder_revoked_and_what_a_fast_clock_ended_is_no_violation() -> None:
    assert check([replace(RIGHT, gone=3.0, revoke_sent=2.9)]) == []
    assert check([replace(RIGHT, gone=4.0)], fastest=2.0) == []


def test_a_lease_whose_key_may_not_be_there_tells_nothing() -> None:
    assert check([replace(RIGHT, is_attached=False, gone=None)]) == []
