"""Codes, texts and timeouts as gRPC writes them."""

from hypothesis import given
from hypothesis import strategies as st

from kvstore.rpc.status import (
    RpcError,
    decode_binary,
    decode_message,
    decode_timeout,
    encode_binary,
    encode_message,
    encode_timeout,
)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_status_text_survives_the_header(text: str) -> None:
    encoded = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert decode_message(encoded.decode("ascii")) == text


def test_a_broken_percent_sequence_is_shown_and_not_an_error() -> None:
    assert decode_message("50%") == "50%"
    assert decode_message("%zz%41") == "%zzA"
    assert decode_message("%ff") == "\ufffd"


@given(st.floats(min_value=0.0005, max_value=1e10))
def test_a_timeout_is_never_shortened_and_hardly_lengthened(seconds: float) -> None:
    text = encode_timeout(seconds)
    decoded = decode_timeout(text)
    assert decoded is not None
    assert len(text) <= 9
    assert seconds * 0.999999 <= decoded <= seconds * 1.01 + 0.001


def test_a_malformed_timeout_is_none() -> None:
    for text in ("", "5", "S", "123456789S", "-1S", "1s", "1.5S", " 1S"):
        assert decode_timeout(text) is None
    assert decode_timeout("1n") == 1e-9
    assert encode_timeout(-1) == "1n"


@given(st.binary(max_size=64))
def test_binary_metadata_survives_without_padding(value: bytes) -> None:
    assert decode_binary(encode_binary(value)) == value
    assert "=" not in encode_binary(value)


def test_binary_metadata_that_is_not_base64_is_none() -> None:
    assert decode_binary("!!") is None


def test_an_error_shows_the_name_of_its_code() -> None:
    assert str(RpcError(5, "gone")) == "NOT_FOUND: gone"
    assert str(RpcError(99, "odd")) == "99: odd"
