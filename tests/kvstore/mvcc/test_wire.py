"""The spliced wire format is protobuf's."""

from hypothesis import given
from hypothesis import strategies as st

from kvstore.mvcc import wire
from kvstore.pb.kv_pb2 import Event, KeyValue

INT64 = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 22))


@given(number=INT64)
def test_a_number_field_is_what_protobuf_writes(number: int) -> None:
    assert wire.number_field(b"\x30", number) == KeyValue(lease=number).SerializeToString()


@given(key=st.binary(max_size=300), revision=INT64, is_delete=st.booleans(), previous=st.booleans())
def test_an_event_is_what_protobuf_writes(key: bytes, revision: int, is_delete: bool, previous: bool) -> None:
    pair = KeyValue(key=key, mod_revision=revision)
    expected = Event(type=Event.DELETE if is_delete else Event.PUT, kv=pair, prev_kv=pair if previous else None)
    encoded = pair.SerializeToString()
    assert wire.event(is_delete, encoded, encoded if previous else None) == expected.SerializeToString()
    assert wire.encode_key_value(key, 0, revision, 0, b"", 0) == encoded
