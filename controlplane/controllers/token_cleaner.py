"""Bootstrap tokens whose `expiration` has passed are deleted."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

from controlplane.controllers._pods import time_of
from controlplane.machinery.actions import Delete, Plan
from controlplane.machinery.controller import Caches, Kind
from controlplane.objects.kinds import SECRETS
from controlplane.objects.meta import get_in, is_deleting, namespace_of

Object = dict[str, Any]

NAME = "token-cleaner-controller"
TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
WATCHES = (Kind(SECRETS, field_selector=f"type={TYPE}"),)


def observe(key: str, caches: Caches) -> Object | None:
    """A token that ends some time, or None."""
    secret = caches[SECRETS].get(key)
    if secret is None or is_deleting(secret) or secret.get("type") != TYPE or namespace_of(secret) != NAMESPACE:
        return None
    return secret if get_in(secret, "data", "expiration") else None


def plan(secret: Object, now: datetime) -> Plan:
    """Delete it when its time is over; a time that cannot be read is over."""
    try:
        end = time_of(base64.b64decode(secret["data"]["expiration"]).decode())
    except (binascii.Error, ValueError):
        end = None
    left = (end - now).total_seconds() if end is not None else 0.0
    return Plan(again_after=left) if left > 0 else Plan((Delete(SECRETS, secret, at_version=True),))
