"""Certificate requests of kubelets are approved when RBAC lets who asks have them: a node's first certificate
(`certificatesigningrequests/nodeclient`) and the renewal of its own (`selfnodeclient`). All others wait for a person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.client import ApiClient
from controlplane.machinery.controller import Caches, Kind
from controlplane.objects import certificates
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS
from controlplane.objects.meta import conditions_of, is_deleting

Object = dict[str, Any]

NAME = "certificatesigningrequest-approving-controller"
WATCHES = (Kind(CERTIFICATE_SIGNING_REQUESTS, field_selector=f"spec.signerName={certificates.KUBELET_CLIENT}"),)

_MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}


@dataclass(frozen=True, slots=True)
class Observed:
    """A request of a kubelet, which rights would do, and the one that its author turned out to have."""

    request: Object
    rights: tuple[str, ...]
    held: str = ""


def observe(key: str, caches: Caches) -> Observed | None:
    """A request that nobody answered yet and that a kubelet may make, or None."""
    obj = caches[CERTIFICATE_SIGNING_REQUESTS].get(key)
    if obj is None or is_deleting(obj) or conditions_of(obj):
        return None
    spec: Object = obj.get("spec") or {}
    parsed = certificates.parsed_request(spec.get("request"))
    signer = spec.get("signerName", "")
    if signer != certificates.KUBELET_CLIENT or parsed is None:
        return None
    if certificates.problem(signer, parsed, spec.get("usages") or ()):
        return None
    is_own = spec.get("username") == parsed.common_name
    return Observed(obj, ("selfnodeclient", "nodeclient") if is_own else ("nodeclient",))


async def fetch(observed: Observed, client: ApiClient) -> Observed:
    """Ask the API whether the author has one of the rights."""
    spec = observed.request["spec"]
    who = {name: spec[name] for name in ("uid", "groups", "extra") if spec.get(name)}
    for right in observed.rights:
        attributes = {
            "group": CERTIFICATE_SIGNING_REQUESTS.group,
            "resource": CERTIFICATE_SIGNING_REQUESTS.plural,
            "verb": "create",
            "subresource": right,
            "version": "*",
        }
        review = {
            "apiVersion": SUBJECT_ACCESS_REVIEWS.group_version,
            "kind": SUBJECT_ACCESS_REVIEWS.kind,
            "metadata": {},
            "spec": {"user": spec.get("username", ""), **who, "resourceAttributes": attributes},
        }
        answer = await client.create(SUBJECT_ACCESS_REVIEWS, review)
        if (answer.get("status") or {}).get("allowed") is True:
            return replace(observed, held=right)
    return observed


def plan(observed: Observed, now: datetime) -> Plan:
    """Approve it, if its author may have it."""
    if not observed.held:
        return Plan()
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "AutoApproved",
        "message": _MESSAGES[observed.held],
    }
    request = observed.request
    status = {**(request.get("status") or {}), "conditions": [condition]}
    return Plan((Update(CERTIFICATE_SIGNING_REQUESTS, {**request, "status": status}, "approval"),))
