"""Tokens and passwords."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kvstore.api.passwords import Passwords
from kvstore.api.tokens import AuthOptions, JwtTokens, SimpleTokens, parse_auth_token
from kvstore.mvcc.permissions import Identity
from kvstore.mvcc.working import TokenChange, Turn


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def turn(*changes: TokenChange, restored: bool = False) -> Turn:
    return Turn(1, (), (), 0, changes, restored)


def test_a_simple_token_ends_when_it_is_not_used_for_its_time_to_live() -> None:
    clock = Clock()
    tokens = SimpleTokens(Random(1), clock, 300)
    tokens.on_turn(turn(TokenChange("ann", "letters.7")))
    for _ in range(3):
        clock.now += 299
        assert tokens.find("letters.7", 5) == Identity("ann", 5)
    clock.now += 300
    assert tokens.find("letters.7", 5) is None
    assert tokens.find("letters.8", 5) is None


def test_tokens_of_one_user_or_of_all_are_void_when_the_log_says_so() -> None:
    tokens = SimpleTokens(Random(1), Clock())
    tokens.on_turn(turn(TokenChange("ann", "a.1"), TokenChange("bob", "b.2"), TokenChange("ann")))
    assert tokens.find("a.1", 1) is None
    assert tokens.find("b.2", 1) == Identity("bob", 1)
    tokens.on_turn(turn(TokenChange()))
    assert tokens.find("b.2", 1) is None
    tokens.on_turn(turn(TokenChange("ann", "a.3")))
    tokens.on_turn(turn(restored=True))
    assert tokens.find("a.3", 1) is None


def test_a_simple_token_names_the_entry_that_issued_it() -> None:
    assert SimpleTokens.issued_at("abcdefghijklmnop.42") == 42
    for nonsense in ("", "x", "x.y", "x.-1", "x.99999999999999999999999"):
        assert SimpleTokens.issued_at(nonsense) == 0
    letters = SimpleTokens(Random(1), Clock()).draw_letters()
    assert len(letters) == 16
    assert letters.isalpha()


def write_keys(folder: Path, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    private_path, public_path = folder / "private.pem", folder / "public.pem"
    private_path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public_path.write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private_path, public_path


@pytest.mark.parametrize("method", ["RS256", "PS256", "ES256"])
def test_a_signed_token_says_who_and_when_and_ends(tmp_path: Path, method: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if method == "ES256" else rsa.generate_private_key(65537, 2048)
    private, public = write_keys(tmp_path, key)
    clock = Clock()

    def made(text: str) -> JwtTokens:
        provider = parse_auth_token(AuthOptions(auth_token=text), Random(1), clock, clock)
        assert isinstance(provider, JwtTokens)
        return provider

    issuer = made(f"jwt,pub-key={public},priv-key={private},sign-method={method},ttl=10m")
    checker = made(f"jwt,pub-key={public},sign-method={method}")
    assert not checker.can_issue
    token = issuer.issue(Identity("ann", 7))
    assert checker.find(token, 9) == Identity("ann", 7)
    assert made(f"jwt,priv-key={private},sign-method={method}").find(token, 9) == Identity("ann", 7)
    assert checker.find(token[:-4] + "AAAA", 9) is None
    clock.now += 601
    assert checker.find(token, 9) is None


@pytest.mark.parametrize(
    "text",
    ["opaque", "jwt", "jwt,sign-method=none", "jwt,sign-method=RS256", "jwt,sign-method=HS256", "jwt,sign-method=RS256,typo=1"],
)
def test_an_auth_token_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--auth-token"):
        parse_auth_token(AuthOptions(auth_token=text), Random(1), Clock(), Clock())


async def hashed(passwords: Passwords, text: str) -> bytes:
    future = asyncio.get_running_loop().create_future()
    passwords.hash(text, future.set_result)
    return bytes(await future)


async def matches(passwords: Passwords, text: str, against: bytes) -> bool:
    future = asyncio.get_running_loop().create_future()
    passwords.check(text, against, future.set_result)
    return bool(await future)


async def test_a_password_that_was_right_is_not_hashed_again() -> None:
    passwords = Passwords(Random(1), 4)
    stored = await hashed(passwords, "secret")
    assert stored.startswith(b"$2a$04$")
    assert await matches(passwords, "secret", stored)
    answers: list[bool] = []
    passwords.check("secret", stored, answers.append)
    assert answers == [True], "it was not answered at once"
    passwords.check("Secret", stored, answers.append)
    assert answers == [True]
    assert not await matches(passwords, "Secret", stored)
    other = await hashed(passwords, "secret")
    assert other != stored
    assert await matches(passwords, "secret", other)
    assert not await matches(passwords, "secret", b"")
