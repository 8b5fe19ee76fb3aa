"""Requests of nodes for serving certificates are approved when every name and address in them is the node's own.

Off unless asked for (`approve_kubelet_serving`), as in Kubernetes, where such requests wait for a person. A request must come
from the node that it names, and its subjectAltNames must be among the addresses that the Node reports. Who could write a Node's
status could have the names of others signed: on machines of several owners leave it off.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.controller import Caches, Kind
from controlplane.objects import certificates
from controlplane.objects.certificates import Request
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS, NODES
from controlplane.objects.meta import conditions_of, is_deleting

Object = dict[str, Any]

NAME = "kubelet-serving-certificate-approver"
WATCHES = (Kind(CERTIFICATE_SIGNING_REQUESTS, field_selector=f"spec.signerName={certificates.KUBELET_SERVING}"),)
NAMES = frozenset({"Hostname", "InternalDNS", "ExternalDNS"})
ADDRESSES = frozenset({"InternalIP", "ExternalIP"})


@dataclass(frozen=True, slots=True)
class Observed:
    """A request that a node made for itself, and the Node ({} until `fetch`, and when there is none)."""

    object: Object
    request: Request
    node: Object


def observe(key: str, caches: Caches) -> Observed | None:
    """A request that nobody answered yet and that its node made, or None."""
    obj = caches[CERTIFICATE_SIGNING_REQUESTS].get(key)
    if obj is None or is_deleting(obj) or conditions_of(obj):
        return None
    spec: Object = obj.get("spec") or {}
    request = certificates.parsed_request(spec.get("request"))
    if spec.get("signerName") != certificates.KUBELET_SERVING or request is None:
        return None
    if certificates.problem(certificates.KUBELET_SERVING, request, spec.get("usages") or ()):
        return None
    is_own = spec.get("username") == request.common_name and certificates.NODES in (spec.get("groups") or ())
    return Observed(obj, request, {}) if is_own else None


async def fetch(observed: Observed, client: ApiClient) -> Observed:
    """The Node as it is now."""
    name = observed.request.common_name.removeprefix(certificates.NODE_PREFIX)
    try:
        return replace(observed, node=await client.get(NODES, name))
    except ApiError as error:
        if error.code != 404:
            raise
        return observed


def is_of(node: Object, request: Request) -> bool:
    """Whether all that the certificate would stand for is the node's."""
    reported = (node.get("status") or {}).get("addresses") or ()
    names = {entry["address"].lower() for entry in reported if entry.get("type") in NAMES}
    own = {ipaddress.ip_address(entry["address"]) for entry in reported if entry.get("type") in ADDRESSES}
    return {name.lower() for name in request.dns_names} <= names and set(
        map(ipaddress.ip_address, request.addresses)
    ) <= own


def plan(observed: Observed, now: datetime) -> Plan:
    """Approve it, or leave it to a person."""
    if not observed.node or not is_of(observed.node, observed.request):
        return Plan()
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "AutoApproved",
        "message": "Auto approving kubelet serving certificate: all its names are addresses of the node.",
    }
    obj = observed.object
    status = {**(obj.get("status") or {}), "conditions": [condition]}
    return Plan((Update(CERTIFICATE_SIGNING_REQUESTS, {**obj, "status": status}, "approval"),))
