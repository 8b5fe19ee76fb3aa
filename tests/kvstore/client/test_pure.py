"""What needs no server: ranges of prefixes, the table of errors, the choice of endpoints."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.client import errors, prefix_end
from kvstore.client.endpoints import Endpoints
from kvstore.rpc import Code


@given(st.binary(max_size=6), st.binary(max_size=8))
def test_a_prefix_range_holds_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    assert (key >= prefix and (end == b"\0" or key < end)) == key.startswith(prefix)


@pytest.mark.parametrize(
    ("code", "text", "kind", "right_code"),
    [
        (Code.UNAVAILABLE, "etcdserver: no leader", errors.NoLeader, Code.UNAVAILABLE),
        (Code.UNKNOWN, "etcdserver: too many requests", errors.TooManyRequests, Code.RESOURCE_EXHAUSTED),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", errors.Compacted, Code.OUT_OF_RANGE),
        (Code.UNAVAILABLE, "connection lost", errors.Unavailable, Code.UNAVAILABLE),
        (Code.UNKNOWN, "anything", errors.EtcdError, Code.UNKNOWN),
        (Code.PERMISSION_DENIED, "not etcd's text", errors.PermissionDenied, Code.PERMISSION_DENIED),
    ],
)
def test_texts_choose_the_type_and_mend_the_code(
    code: Code, text: str, kind: type[errors.EtcdError], right_code: Code
) -> None:
    error = errors.from_status(code, text)
    assert (type(error), error.code, str(error)) == (kind, right_code, text)


def test_the_reason_of_a_cancelled_watch_is_understood_in_gos_words() -> None:
    denied = errors.from_cancel_reason("rpc error: code = PermissionDenied desc = etcdserver: permission denied")
    assert type(denied) is errors.PermissionDenied
    odd = errors.from_cancel_reason("rpc error: code = Canceled desc = bye")
    assert type(odd) is errors.Cancelled
    assert type(errors.from_cancel_reason("mvcc: watcher range is empty")) is errors.EtcdError


async def test_a_failing_endpoint_rests_and_the_healthiest_is_next() -> None:
    endpoints = Endpoints(["a:1", "b:2", "c:3"], None, random.Random(1))
    assert endpoints.on_failure(endpoints.current) == 0.0
    assert endpoints.current.target == "b:2"
    assert endpoints.on_failure(endpoints.named("a:1")) == 0.0
    assert endpoints.current.target == "b:2"
    endpoints.on_failure(endpoints.current)
    assert endpoints.current.target == "c:3"
    assert endpoints.on_failure(endpoints.current) > 0.0
    assert endpoints.current.failures <= 2
    endpoints.on_success(endpoints.current)
    assert endpoints.current.failures == 0
    await asyncio.gather(endpoints.close())
    with pytest.raises(ValueError, match="endpoint"):
        Endpoints([], None, random.Random(1))
