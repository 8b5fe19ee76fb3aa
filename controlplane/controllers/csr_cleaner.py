"""Certificate requests do not stay for ever: an hour after their answer, a day without one, or when what they got has ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controlplane.controllers._pods import time_of
from controlplane.machinery.actions import Delete, Plan
from controlplane.machinery.controller import Caches, Kind
from controlplane.objects import certificates
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS
from controlplane.objects.meta import conditions_of, get_in, is_deleting

Object = dict[str, Any]

NAME = "certificatesigningrequest-cleaner-controller"
WATCHES = (Kind(CERTIFICATE_SIGNING_REQUESTS),)

ANSWERED_SECONDS = 3600.0
PENDING_SECONDS = 24 * 3600.0


def observe(key: str, caches: Caches) -> Object | None:
    """The request, or None when it is gone."""
    obj = caches[CERTIFICATE_SIGNING_REQUESTS].get(key)
    return None if obj is None or is_deleting(obj) else obj


def _left(obj: Object, now: datetime) -> float:
    """Seconds that it may stay."""
    answers = {condition.get("type"): condition for condition in conditions_of(obj)}
    created = time_of(get_in(obj, "metadata", "creationTimestamp")) or now
    certificate = get_in(obj, "status", "certificate")
    for kind in ("Denied", "Failed", "Approved"):
        if kind in answers and (kind != "Approved" or certificate):
            since = time_of(answers[kind].get("lastUpdateTime")) or created
            left = ANSWERED_SECONDS - (now - since).total_seconds()
            end = certificates.end_of(certificate) if certificate else None
            return left if end is None else min(left, (end - now).total_seconds())
    return PENDING_SECONDS - (now - created).total_seconds()


def plan(obj: Object, now: datetime) -> Plan:
    """Delete it, or come back when its time is over."""
    left = _left(obj, now)
    return Plan(again_after=left) if left > 0 else Plan((Delete(CERTIFICATE_SIGNING_REQUESTS, obj, at_version=True),))
