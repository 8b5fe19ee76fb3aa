"""A proxy before this server that has authenticated the user, and says who it is in X-Remote-* headers.

It is believed when its own client certificate is signed by the authority of --requestheader-client-ca-file and its name is
allowed. Without that file, and from everybody else, the headers mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from controlplane.apiserver.authn.user import AUTHENTICATED, User

if TYPE_CHECKING:
    from controlplane.apiserver.config import ApiServerConfig
    from controlplane.apiserver.context import Context


class Issuers:
    """The authorities of one PEM file. ValueError for a file without certificates."""

    def __init__(self, path: Path) -> None:
        from cryptography import x509

        self._certificates: Sequence[Any] = x509.load_pem_x509_certificates(path.read_bytes())

    def signed(self, certificate: Any) -> bool:
        """Whether one of them has signed the (already verified) certificate, given as cryptography has it."""
        return any(_is_issued_by(certificate, issuer) for issuer in self._certificates)


def _is_issued_by(certificate: Any, issuer: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _lower(names: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(name.lower().encode() for name in names)


class FrontProxy:
    """Reads the headers of a connection that it trusts."""

    def __init__(self, config: ApiServerConfig) -> None:
        assert config.requestheader_client_ca_file is not None
        self._issuers = Issuers(config.requestheader_client_ca_file)
        self._names = frozenset(config.requestheader_allowed_names)
        self._users = _lower(config.requestheader_username_headers)
        self._groups = _lower(config.requestheader_group_headers)
        self._uids = _lower(config.requestheader_uid_headers)
        self._extras = _lower(config.requestheader_extra_headers_prefix)

    def trusts(self, certificate: bytes) -> bool:
        """Whether a verified client certificate (DER) is the proxy's."""
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        parsed = x509.load_der_x509_certificate(certificate)
        if not self._issuers.signed(parsed):
            return False
        names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return not self._names or any(str(each.value) in self._names for each in names)

    def user_of(self, context: Context) -> User | None:
        """Whom the headers name; None when they name nobody."""
        name = self._first(context, self._users)
        if not name:
            return None
        groups = [
            value.decode("latin-1") for wanted in self._groups for key, value in context.all_headers if key == wanted
        ]
        if AUTHENTICATED not in groups:
            groups.append(AUTHENTICATED)
        extra: dict[str, list[str]] = {}
        for prefix in self._extras:
            for key, value in context.all_headers:
                if key.startswith(prefix):
                    extra.setdefault(unquote(key[len(prefix) :].decode("latin-1")), []).append(value.decode("latin-1"))
        found = {key: tuple(values) for key, values in extra.items()}
        return User(name, tuple(groups), self._first(context, self._uids), found)

    def _first(self, context: Context, names: tuple[bytes, ...]) -> str:
        return next((found for name in names if (found := context.header(name))), "")
