"""ServiceAccount: every active namespace has the account `default`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.machinery.actions import Create, Plan
from controlplane.machinery.controller import Caches, Kind, Related
from controlplane.objects.kinds import NAMESPACES, SERVICE_ACCOUNTS
from controlplane.objects.meta import get_in, is_deleting, name_of, namespace_of

Object = dict[str, Any]

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Observed:
    """A namespace, and whether it has the account."""

    namespace: Object
    has_account: bool


def _namespace_of_default(account: Object, _: Caches) -> Iterable[str]:
    return (namespace_of(account),) if name_of(account) == DEFAULT else ()


NAME = "serviceaccount-controller"
WATCHES = (Kind(NAMESPACES), Related(SERVICE_ACCOUNTS, _namespace_of_default))


def observe(key: str, caches: Caches) -> Observed | None:
    """The namespace, or None when it is gone."""
    namespace = caches[NAMESPACES].get(key)
    return Observed(namespace, f"{key}/{DEFAULT}" in caches[SERVICE_ACCOUNTS]) if namespace else None


def plan(observed: Observed, now: datetime) -> Plan:
    """Make the account where it lacks."""
    namespace = observed.namespace
    if observed.has_account or is_deleting(namespace) or get_in(namespace, "status", "phase") == "Terminating":
        return Plan()
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": DEFAULT, "namespace": name_of(namespace)},
    }
    return Plan((Create(SERVICE_ACCOUNTS, account, exists_ok=True),))
