"""Tokens: what a client shows instead of its password.

    SimpleTokens    16 letters, a dot, the raft index at which it was issued; every member knows it by the log, none keeps it
                    over a restart. It ends when it has not been used for its time to live.
    JwtTokens       signed, so that any member can check it; carries the user and the auth revision of its making

    provider.find(token, auth_revision) -> Identity | None
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from kvstore.mvcc.permissions import Identity
from kvstore.mvcc.working import Turn

__all__ = ["AuthOptions", "JwtTokens", "SimpleTokens", "parse_auth_token"]

TOKEN_LETTERS = 16
DEFAULT_TTL_SECONDS = 300.0
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ASYMMETRIC = ("RS", "PS", "ES", "Ed")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SWEEP_ABOVE = 1000  # tokens; then those that have ended are looked for as each is added


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """How users show who they are, named as etcd's flags. Raises ValueError from `parse_auth_token` when it is nonsense."""

    auth_token: str = "simple"
    auth_token_ttl_seconds: float = DEFAULT_TTL_SECONDS
    bcrypt_cost: int = 10
    client_cert_auth: bool = False


class SimpleTokens:
    """`clock()` is the loop's time."""

    def __init__(self, random: Random, clock: Callable[[], float], ttl_seconds: float = DEFAULT_TTL_SECONDS) -> None:
        self._random = random
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._known: dict[str, tuple[str, float]] = {}  # user, deadline

    def draw_letters(self) -> str:
        """Return what nobody can guess."""
        return "".join(self._random.choice(_LETTERS) for _ in range(TOKEN_LETTERS))

    def on_turn(self, turn: Turn) -> None:
        """Follow what the log says of tokens."""
        if turn.restored:  # whose users may be others
            self._known.clear()
        for change in turn.tokens:
            if change.token:
                self._add(change.user, change.token)
            elif change.user:
                self._known = {token: entry for token, entry in self._known.items() if entry[0] != change.user}
            else:
                self._known.clear()

    def _add(self, user: str, token: str) -> None:
        now = self._clock()
        if len(self._known) >= SWEEP_ABOVE and next(iter(self._known.values()))[1] <= now:
            self._known = {known: entry for known, entry in self._known.items() if entry[1] > now}
        self._known[token] = (user, now + self._ttl_seconds)

    def find(self, token: str, auth_revision: int) -> Identity | None:
        """Return whose token it is, and let it live on."""
        entry = self._known.pop(token, None)
        now = self._clock()
        if entry is None or entry[1] <= now:
            return None
        self._known[token] = (entry[0], now + self._ttl_seconds)  # at the end: in the order of the deadlines
        return Identity(entry[0], auth_revision)

    @staticmethod
    def issued_at(token: str) -> int:
        """Return the raft index that a simple token names; 0 for what is none."""
        index = token.rpartition(".")[2]
        return int(index) if index.isdecimal() and len(index) < 20 else 0


class JwtTokens:
    """`clock()` is seconds since 1970. Without a private key tokens are checked and none is issued."""

    def __init__(self, method: str, private: str | bytes, public: str | bytes, ttl_seconds: float,
                 clock: Callable[[], float]) -> None:  # fmt: skip
        self._method = method
        self._private, self._public = private, public
        self._ttl_seconds = ttl_seconds
        self._clock = clock

    @property
    def can_issue(self) -> bool:
        """Whether there is a private key."""
        return bool(self._private)

    def issue(self, identity: Identity) -> str:
        """Sign a token."""
        claims = {
            "username": identity.user,
            "revision": identity.revision,
            "exp": int(self._clock() + self._ttl_seconds),
        }
        import jwt  # here: most members have simple tokens, and start sooner without it

        return jwt.encode(claims, self._private, algorithm=self._method)

    def find(self, token: str, auth_revision: int) -> Identity | None:
        """Return what a token says, if it is ours and has not ended."""
        import jwt

        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._public, algorithms=[self._method], options={"verify_exp": False, "require": ["exp"]}
            )
            user, revision, end = claims["username"], int(claims["revision"]), float(claims["exp"])
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            return None
        return Identity(user, revision) if isinstance(user, str) and end > self._clock() else None


def parse_auth_token(
    options: AuthOptions, random: Random, clock: Callable[[], float], wall_clock: Callable[[], float]
) -> SimpleTokens | JwtTokens:
    """Make the provider that --auth-token names: simple, or jwt,pub-key=...,priv-key=...,sign-method=...,ttl=...

    Raises ValueError, and OSError when a key cannot be read.
    """
    kind, *pairs = options.auth_token.split(",")
    if kind in ("", "simple"):
        return SimpleTokens(random, clock, options.auth_token_ttl_seconds)
    if kind != "jwt":
        raise ValueError(f"--auth-token must be simple or jwt,..., not {options.auth_token!r}")
    import jwt

    given = dict(pair.partition("=")[::2] for pair in pairs)
    unknown = set(given) - {"pub-key", "priv-key", "sign-method", "ttl"}
    method = given.get("sign-method", "")
    if unknown or method not in jwt.algorithms.get_default_algorithms() or method == "none":
        raise ValueError(f"--auth-token: unknown option or sign-method in {options.auth_token!r}")
    ttl_seconds = _seconds(given["ttl"]) if "ttl" in given else DEFAULT_TTL_SECONDS
    private, public = _read(given.get("priv-key", "")), _read(given.get("pub-key", ""))
    if method.startswith(_ASYMMETRIC):
        if not public and not private:
            raise ValueError("--auth-token: jwt needs pub-key or priv-key")
        return JwtTokens(method, private, public or _public_of(private), ttl_seconds, wall_clock)
    if not private:
        raise ValueError(f"--auth-token: {method} needs priv-key")
    return JwtTokens(method, private, private, ttl_seconds, wall_clock)


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""


def _public_of(private: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(private, None)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _seconds(text: str) -> float:
    for unit in ("ms", "s", "m", "h"):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return float(number) * _UNIT_SECONDS[unit]
    raise ValueError(f"--auth-token: ttl={text!r} is not a duration such as 5m or 300s")
