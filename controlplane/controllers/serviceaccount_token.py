"""ServiceAccount tokens in Secrets: fill each Secret of type kubernetes.io/service-account-token that somebody made.

The token is asked of the API server (TokenRequest, bound to the Secret), so that no signing key is needed here: it is void as
soon as the Secret or the account is gone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.controllers._pods import time_of
from controlplane.machinery.actions import Delete, Plan, Update
from controlplane.machinery.client import ApiClient
from controlplane.machinery.controller import Caches, Kind, Related, Watch
from controlplane.objects.kinds import SECRETS, SERVICE_ACCOUNTS
from controlplane.objects.meta import (
    annotations_of,
    get_in,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    uid_of,
    with_annotations,
)

Object = dict[str, Any]

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME, ACCOUNT_UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
PATIENCE_SECONDS = 10.0
LIFETIME_SECONDS = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Observed:
    """A token Secret, its account if that exists, and the token that was asked for."""

    secret: Object
    account: Object | None
    token: str = ""


def _secrets_of_account(account: Object, caches: Caches) -> Iterable[str]:
    name = name_of(account)
    for secret in caches[SECRETS].in_namespace(namespace_of(account)):
        if annotations_of(secret).get(ACCOUNT_NAME) == name:
            yield key_of(secret)


class ServiceAccountTokens:
    """`bundle`: the PEM text of the root CA, for `ca.crt`; empty: none."""

    NAME = "serviceaccount-token-controller"
    WATCHES: tuple[Watch, ...] = (
        Kind(SECRETS, field_selector=f"type={TYPE}"),
        Related(SERVICE_ACCOUNTS, _secrets_of_account),
    )

    def __init__(self, bundle: bytes) -> None:
        self._bundle = base64.b64encode(bundle).decode()

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """A token Secret that names an account, or None."""
        secret = caches[SECRETS].get(key)
        if secret is None or secret.get("type") != TYPE or is_deleting(secret):
            return None
        name = annotations_of(secret).get(ACCOUNT_NAME)
        return Observed(secret, caches[SERVICE_ACCOUNTS].get(f"{namespace_of(secret)}/{name}")) if name else None

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Ask for a token where one is due."""
        secret, account = observed.secret, observed.account
        if account is None or not _fits(secret, account) or get_in(secret, "data", "token"):
            return observed
        reference = {"apiVersion": "v1", "kind": "Secret", "name": name_of(secret), "uid": uid_of(secret)}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": name_of(account), "namespace": namespace_of(account)},
            "spec": {"expirationSeconds": LIFETIME_SECONDS, "boundObjectRef": reference},
        }
        namespace, name = namespace_of(account), name_of(account)
        answer = await client.create(SERVICE_ACCOUNTS, request, namespace, subresource="token", name=name)
        return replace(observed, token=answer["status"]["token"])

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Fill the Secret; drop it when its account is gone."""
        secret, account = observed.secret, observed.account
        if account is None or not _fits(secret, account):
            age = (now - (time_of(get_in(secret, "metadata", "creationTimestamp")) or now)).total_seconds()
            if account is None and age < PATIENCE_SECONDS:
                return Plan(again_after=PATIENCE_SECONDS - age)  # both may come out of one file, in any order
            return Plan((Delete(SECRETS, secret, at_version=True),))
        data = {**(secret.get("data") or {})}
        if observed.token:
            data["token"] = base64.b64encode(observed.token.encode()).decode()
        data.setdefault("namespace", base64.b64encode(namespace_of(secret).encode()).decode())
        if self._bundle:
            data["ca.crt"] = self._bundle
        filled = {**with_annotations(secret, {ACCOUNT_UID: uid_of(account)}), "data": data}
        return Plan((Update(SECRETS, filled),)) if filled != secret else Plan()


def _fits(secret: Object, account: Object) -> bool:
    """Whether the Secret was made for this account and not for one of the same name before."""
    return annotations_of(secret).get(ACCOUNT_UID, uid_of(account)) == uid_of(account)
