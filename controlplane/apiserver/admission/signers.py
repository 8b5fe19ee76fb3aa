"""Permission for the work of a signer: verbs on the virtual resource `signers`, by its name or for its whole domain."""

from __future__ import annotations

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.authz import attributes as authz
from controlplane.apiserver.storage.codec import Object

_GROUP = "certificates.k8s.io"


async def may(told: Attributes, verb: str, signer: str) -> bool:
    """Whether the user may do `verb` for the signer, or for `domain/*`."""
    names = [signer, f"{signer.split('/', 1)[0]}/*"]
    for name in names:
        asked = authz.Attributes(verb, _GROUP, "*", "signers", "", name, "")
        if await told.services.authorizer.allows(told.user, asked):
            return True
    return False


def signer_of(obj: Object) -> str:
    return str((obj.get("spec") or {}).get("signerName") or "")
