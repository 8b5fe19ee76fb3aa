"""Bootstrap tokens: `ID.SECRET`, as Secrets `bootstrap-token-ID` of kube-system have them, for machines that join.

Such a user is `system:bootstrap:ID` in `system:bootstrappers`; it may ask for a certificate and little else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.authn.user import AUTHENTICATED, User
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import meta
from controlplane.objects.kinds import SECRETS

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

TYPE: Final = "bootstrap.kubernetes.io/token"
NAMESPACE: Final = "kube-system"
GROUP: Final = "system:bootstrappers"
USER_PREFIX: Final = "system:bootstrap:"
_TOKEN: Final = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP: Final = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")

logger = logging.getLogger(__name__)


def _text(secret: Object, key: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def is_expired(secret: Object, now: datetime) -> bool:
    """Whether its time is over; a time that cannot be read is over."""
    text = _text(secret, "expiration")
    if not text:
        return False
    try:
        return meta.parse_time(text) <= now
    except ValueError:
        return True


def user_of_secret(secret: Object, identity: str, password: str, now: datetime) -> User | None:
    """The user, when the Secret is a bootstrap token with this id and password that may be used now."""
    if secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp") is not None:
        return None
    if not hmac.compare_digest(_text(secret, "token-secret").encode(), password.encode()):
        return None
    if _text(secret, "token-id") != identity or is_expired(secret, now):
        return None
    if _text(secret, "usage-bootstrap-authentication") != "true":
        return None
    groups = [GROUP, AUTHENTICATED]
    for group in filter(None, _text(secret, "auth-extra-groups").split(",")):
        if not _EXTRA_GROUP.fullmatch(group):
            logger.warning("bootstrap token %s has the group %s, which no such token may give", identity, group)
            return None
        groups.append(group)
    return User(USER_PREFIX + identity, tuple(groups))


class BootstrapTokens:
    """Looks tokens up in the store, each time: they are used a few times in a node's life."""

    async def user_of(self, services: Services, token: str, audiences: Sequence[str]) -> User | None:
        """The user of a living token."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        entry = await services.store.get(layout.key("", SECRETS.plural, NAMESPACE, f"bootstrap-token-{found[1]}"))
        if entry is None:
            return None
        return user_of_secret(entry.object(), found[1], found[2], services.environment.now())
