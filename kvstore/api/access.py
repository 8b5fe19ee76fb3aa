"""Who asks, and whether he may: tokens and certificates to identities, identities to the state's own checks.

    access.allows(call, check)      refuse the call, or return True; `check(identity)` is one of state.guard's
    access.settle(call, then)       `then()` once a token that was issued by another member is known here too
    access.guarded(path, route)     the route, for root alone or for users alone where etcd has it so
"""

from collections.abc import Callable

from kvstore.api import errors
from kvstore.api.passwords import Passwords
from kvstore.api.tokens import JwtTokens, SimpleTokens
from kvstore.member.ports import Failed, Result
from kvstore.mvcc import errors as state_errors
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.permissions import Identity
from kvstore.mvcc.state import StateMachine
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["Access", "Check"]

_SERVICE = "/etcdserverpb."
ROOT_ALONE = frozenset(
    _SERVICE + method
    for method in (
        "KV/Compact", "Maintenance/Alarm", "Maintenance/Status", "Maintenance/Defragment", "Maintenance/Hash",
        "Maintenance/HashKV", "Maintenance/Snapshot", "Maintenance/MoveLeader", "Maintenance/Downgrade",
        "Cluster/MemberAdd", "Cluster/MemberRemove", "Cluster/MemberUpdate", "Cluster/MemberPromote",
    )
)  # fmt: skip
USERS_ALONE = frozenset(
    _SERVICE + method for method in ("Cluster/MemberList", "Lease/LeaseKeepAlive", "Lease/LeaseTimeToLive", "Lease/LeaseLeases")
)
MAX_KNOWN_CERTIFICATES = 1000

Check = Callable[[Identity | None], Failure | None]


class Access:
    """`read(done)` is the member's linearizable barrier."""

    def __init__(
        self,
        state: StateMachine,
        read: Callable[[Callable[[Result], None]], None],
        tokens: SimpleTokens | JwtTokens,
        passwords: Passwords,
        *,
        by_certificate: bool = False,
    ) -> None:
        self._state = state
        self._read = read
        self.tokens = tokens
        self.passwords = passwords
        self._by_certificate = by_certificate
        self._common_names: dict[bytes, str] = {}
        if isinstance(tokens, SimpleTokens):
            state.on_turn(tokens.on_turn)

    @property
    def is_on(self) -> bool:
        """Whether anything is checked."""
        return self._state.guard.is_on

    @property
    def is_revision_in_token(self) -> bool:
        """Whether a token says at which revision it was made: then only a new one can help against an old revision."""
        return isinstance(self.tokens, JwtTokens)

    def identify(self, call: Call) -> Identity | Failure | None:
        """Return who asks: by token, else by certificate; None for somebody who does not say."""
        revision = self._state.guard.revision
        token = _token(call)
        if token:
            return self.tokens.find(token, revision) or state_errors.INVALID_AUTH_TOKEN
        if self._by_certificate and "grpcgateway-accept" not in call.metadata and call.client_certificate:
            name = self._common_name(call.client_certificate)
            return Identity(name, revision) if name else None
        return None

    def _common_name(self, certificate: bytes) -> str:
        name = self._common_names.get(certificate)
        if name is None:
            from cryptography import x509  # here: most members never meet a certificate, and start sooner without it
            from cryptography.x509.oid import NameOID

            found = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            name = str(found[0].value) if found else ""
            if len(self._common_names) >= MAX_KNOWN_CERTIFICATES:
                self._common_names.clear()
            self._common_names[certificate] = name
        return name

    def settle(self, call: Call, then: Callable[[], None]) -> None:
        """Run `then`, after the entries that were committed when an unknown token was issued have been applied."""
        tokens, token = self.tokens, _token(call)
        is_ahead = isinstance(tokens, SimpleTokens) and tokens.issued_at(token) > self._state.applied_index
        if not is_ahead or not self.is_on:
            then()
            return

        def finish(result: Result) -> None:
            if isinstance(result, Failed):
                call.fail(result.code, result.text)
            else:
                then()

        self._read(finish)

    def refusal(self, call: Call, check: Check) -> Failure | None:
        """Return why the client of `call` may not do what `check` looks at."""
        if not self.is_on:
            return None
        identity = self.identify(call)
        return identity if isinstance(identity, Failure) else check(identity)

    def allows(self, call: Call, check: Check) -> bool:
        """Return whether the client of `call` may do what `check` looks at; refuse the call when not."""
        failure = self.refusal(call, check)
        if failure is not None:
            errors.refuse(call, failure)
        return failure is None

    def guarded(self, path: str, route: Unary | Streaming) -> Unary | Streaming:
        """Return `route` behind the check that `path` needs as a whole."""
        guard = self._state.guard
        if path in ROOT_ALONE:
            return self._behind(guard.refuse_admin, route)
        return self._behind(guard.refuse_stranger, route) if path in USERS_ALONE else route

    def _behind(self, check: Check, route: Unary | Streaming) -> Unary | Streaming:
        if isinstance(route, Streaming):
            begin = route.handler
            return Streaming(lambda call: begin(call) if self.allows(call, check) else _Deaf())
        handler = route.handler

        def handle(call: Call, message: bytes) -> None:
            if self.is_on:
                self.settle(call, lambda: handler(call, message) if self.allows(call, check) else None)
            else:
                handler(call, message)

        return Unary(handle)


class _Deaf:
    """Receives what a client sends on a stream that has been refused."""

    def on_message(self, message: bytes) -> None:
        """Nobody listens."""

    def on_half_close(self) -> None:
        """Nobody listens."""

    def on_cancel(self) -> None:
        """Nothing is held."""


def _token(call: Call) -> str:
    token = call.metadata.get("token") or call.metadata.get("authorization", "")
    return token.removeprefix("Bearer ")
