"""Client certificates: the common name is the user, the organisations are the groups."""

from __future__ import annotations

import hashlib

from controlplane.apiserver.authn.user import AUTHENTICATED, CREDENTIAL_ID, User


def user_of(certificate: bytes) -> User | None:
    """The user that a verified certificate (DER) names; None when it has no common name."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.load_der_x509_certificate(certificate).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        return None
    groups = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if AUTHENTICATED not in groups:
        groups.append(AUTHENTICATED)
    fingerprint = hashlib.sha256(certificate).hexdigest()
    return User(str(names[0].value), tuple(groups), extra={CREDENTIAL_ID: (f"X509SHA256={fingerprint}",)})
