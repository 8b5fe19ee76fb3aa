"""AdmissionReview documents: the question, and the answer taken apart.  Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from controlplane.apiserver.storage import codec
from controlplane.objects import patch, status
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError

if TYPE_CHECKING:
    from controlplane.apiserver.admission.attributes import Attributes

Object = dict[str, Any]
_OPTIONS: Final = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


class BadAnswer(Exception):
    """The webhook answered what is no review of this request."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook said: `patch` is its JSON patch, None for none."""

    allowed: bool
    result: Object
    patch: list[Any] | None
    warnings: tuple[str, ...]


def _kind(resource: Resource, obj: Object) -> Object:
    """What is sent: the resource's kind, or that of a subresource (Eviction, PodExecOptions, ...)."""
    if obj.get("kind", resource.kind) != resource.kind:
        group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
        return {"group": group, "version": version, "kind": obj["kind"]}
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def request(uid: str, told: Attributes, resource: Resource, obj: Object, old: Object) -> Object:
    """The `request` of a review; `resource` is the version that the webhook's rules name, with the objects in it."""
    options: Object | None = None
    if told.operation in _OPTIONS:
        options = {"kind": _OPTIONS[told.operation], "apiVersion": "meta.k8s.io/v1"}
        if told.dry_run:
            options["dryRun"] = ["All"]
    found: Object = {
        "uid": uid,
        "kind": _kind(resource, obj),
        "resource": _resource(resource),
        "requestKind": _kind(told.resource, obj),
        "requestResource": _resource(told.resource),
        "operation": told.operation,
        "userInfo": told.user.document(),
        "object": obj or None,
        "oldObject": old or None,
        "dryRun": told.dry_run,
        "options": options,
    }
    if told.name:
        found["name"] = told.name
    if told.namespace:
        found["namespace"] = told.namespace
    if told.subresource:
        found["subResource"] = found["requestSubResource"] = told.subresource
    return found


def review(asked: Object) -> Object:
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": asked}


def verdict(uid: str, document: Object) -> Verdict:
    """The answer of a review; raises BadAnswer."""
    if document.get("kind") != "AdmissionReview" or document.get("apiVersion") != "admission.k8s.io/v1":
        raise BadAnswer("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview")
    response = document.get("response")
    if not isinstance(response, dict):
        raise BadAnswer("webhook response was absent")
    if response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    found: list[Any] | None = None
    if response.get("patch"):
        if response.get("patchType") != "JSONPatch":
            raise BadAnswer('webhook returned response.patch but response.patchType is not "JSONPatch"')
        try:
            found = codec.decode(base64.b64decode(response["patch"]))
        except (binascii.Error, msgspec.DecodeError, ValueError) as error:
            raise BadAnswer(f"webhook returned a patch that cannot be read: {error}") from None
    warnings = tuple(str(each) for each in response.get("warnings") or ())
    return Verdict(bool(response.get("allowed")), response.get("status") or {}, found, warnings)


def denial(name: str, found: Verdict) -> ApiError:
    """What the client is told of a refusal."""
    message = found.result.get("message") or found.result.get("reason") or ""
    head = f'admission webhook "{name}" denied the request'
    text = f"{head}: {message}" if message else f"{head} without explanation"
    code = int(found.result.get("code") or 403)
    reason = found.result.get("reason") or {400: "BadRequest", 403: "Forbidden", 409: "Conflict"}.get(code, "")
    return ApiError(code, reason, text)


def patched(name: str, obj: Object, changes: list[Any]) -> Object:
    """The object after a webhook's patch; raises 500 when the patch does not apply."""
    try:
        found: Object = patch.json_patch(obj, changes)
        return found
    except patch.PatchError as error:
        raise status.internal_error(f'admission webhook "{name}" attempted to apply a patch: {error}') from None
