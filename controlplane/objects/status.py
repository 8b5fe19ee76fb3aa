"""Kubernetes' Status: `ApiError` and a constructor for each reason, in Kubernetes' words.

    raise not_found(PODS, "web-1")            # 404 NotFound    pods "web-1" not found
    raise invalid(DEPLOYMENTS, "web", [FieldError.required("spec.selector")])
    ApiError.from_status(document)            # what a client got;  error.status() is the document to send

The words are those of apimachinery's api/errors and util/validation/field.
"""

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Self

from controlplane.objects.kinds import Resource

Object = dict[str, Any]

# FieldError types: (words, reason of the cause)
_FIELD_TYPES: dict[str, tuple[str, str]] = {
    "Required": ("Required value", "FieldValueRequired"),
    "Invalid": ("Invalid value", "FieldValueInvalid"),
    "TypeInvalid": ("Invalid value", "FieldValueTypeInvalid"),
    "NotSupported": ("Unsupported value", "FieldValueNotSupported"),
    "Duplicate": ("Duplicate value", "FieldValueDuplicate"),
    "Forbidden": ("Forbidden", "FieldValueForbidden"),
    "TooLong": ("Too long", "FieldValueTooLong"),
    "TooMany": ("Too many", "FieldValueTooMany"),
    "NotFound": ("Not found", "FieldValueNotFound"),
    "Internal": ("Internal error", "InternalError"),
}
_WITHOUT_VALUE = frozenset({"Required", "Forbidden", "TooLong", "Internal"})


def quote(text: str) -> str:
    """The text in double quotes, as Go's %q writes it."""
    return json.dumps(text, ensure_ascii=False)


def _shown(value: Any) -> str:
    if value is None:
        return '"null"'
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field.  `type` is one of Required, Invalid, TypeInvalid, NotSupported, Duplicate,
    Forbidden, TooLong, TooMany, NotFound, Internal; `value` is the JSON value found there."""

    type: str
    field: str
    value: Any = None
    detail: str = ""

    @classmethod
    def required(cls, field: str, detail: str = "") -> Self:
        return cls("Required", field, None, detail)

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> Self:
        return cls("Invalid", field, value, detail)

    @classmethod
    def type_invalid(cls, field: str, value: Any, detail: str) -> Self:
        return cls("TypeInvalid", field, value, detail)

    @classmethod
    def not_supported(cls, field: str, value: Any, supported: Iterable[str]) -> Self:
        """`supported` in their own order; a set is sorted."""
        ordered = sorted(supported) if isinstance(supported, Set) else supported
        names = ", ".join(quote(name) for name in ordered)
        return cls("NotSupported", field, value, f"supported values: {names}" if names else "")

    @classmethod
    def duplicate(cls, field: str, value: Any) -> Self:
        return cls("Duplicate", field, value)

    @classmethod
    def forbidden(cls, field: str, detail: str) -> Self:
        return cls("Forbidden", field, None, detail)

    @classmethod
    def too_long(cls, field: str, limit_bytes: int) -> Self:
        return cls("TooLong", field, None, f"may not be more than {limit_bytes} bytes")

    @classmethod
    def too_many(cls, field: str, found: int, limit: int) -> Self:
        return cls("TooMany", field, found, f"must have at most {limit} item{'' if limit == 1 else 's'}")

    @classmethod
    def not_found(cls, field: str, value: Any) -> Self:
        return cls("NotFound", field, value)

    @property
    def reason(self) -> str:
        """The cause's reason, e.g. FieldValueInvalid."""
        return _FIELD_TYPES[self.type][1]

    @property
    def body(self) -> str:
        """The message without the field: `Invalid value: -1: must be greater than or equal to 0`."""
        text = _FIELD_TYPES[self.type][0]
        if self.type not in _WITHOUT_VALUE:
            text += f": {_shown(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"

    def cause(self) -> Object:
        """The entry of `details.causes`."""
        return {"reason": self.reason, "message": self.body, "field": self.field}


class ApiError(Exception):
    """A refusal as Kubernetes words it: HTTP `code`, `reason`, `message`, and `details` (name, group, kind, uid,
    causes, retryAfterSeconds; empty when there are none).  `metadata` is the Status' ListMeta (a `continue` token)."""

    def __init__(
        self, code: int, reason: str, message: str, details: Object | None = None, metadata: Object | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details: Object = details or {}
        self.metadata: Object = metadata or {}

    @classmethod
    def from_status(cls, status: Object) -> Self:
        """What a client makes of a Status document; unknown fields are kept where they have a place."""
        return cls(
            int(status.get("code") or 500),
            str(status.get("reason") or "Unknown"),
            str(status.get("message") or ""),
            status.get("details") or {},
            status.get("metadata") or {},
        )

    def status(self) -> Object:
        """The Status document to send with `code`."""
        document: Object = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure"}
        if self.message:
            document["message"] = self.message
        if self.reason and self.reason != "Unknown":
            document["reason"] = self.reason
        if self.details:
            document["details"] = self.details
        document["code"] = self.code
        return document

    @property
    def causes(self) -> Sequence[Object]:
        """`details.causes`, or nothing."""
        found: Sequence[Object] = self.details.get("causes") or ()
        return found

    @property
    def retry_after_seconds(self) -> int:
        """What the Retry-After header must say; 0 for no header."""
        return int(self.details.get("retryAfterSeconds") or 0)

    def has_cause(self, reason: str) -> bool:
        return any(cause.get("reason") == reason for cause in self.causes)

    def __repr__(self) -> str:
        return f"ApiError({self.code}, {self.reason!r}, {self.message!r})"


def success(resource: Resource | None = None, name: str = "", uid: str = "", code: int = 0) -> Object:
    """The Status of a deletion that is done (or of anything else that answers no object)."""
    document: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if resource is not None:
        details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": uid}
        document["details"] = {key: value for key, value in details.items() if value}
    if code:
        document["code"] = code
    return document


def _details(resource: Resource | None, name: str = "", *, kind: str = "", **more: Any) -> Object:
    details: Object = {"name": name}
    if resource is not None:
        details |= {"group": resource.group, "kind": kind or resource.plural}
    return {key: value for key, value in (details | more).items() if value}


def bad_request(message: str) -> ApiError:
    """400 BadRequest."""
    return ApiError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    """401 Unauthorized."""
    return ApiError(401, "Unauthorized", message)


def forbidden(resource: Resource | None, name: str, why: str) -> ApiError:
    """403 Forbidden: `pods "x" is forbidden: why`; without a name `pods is forbidden: why`; else `forbidden: why`."""
    if resource is None:
        message = f"forbidden: {why}"
    elif name:
        message = f"{resource.group_resource} {quote(name)} is forbidden: {why}"
    else:
        message = f"{resource.group_resource} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, _details(resource, name))


def not_found(resource: Resource, name: str) -> ApiError:
    """404 NotFound: `pods "x" not found`."""
    message = f"{resource.group_resource} {quote(name)} not found"
    return ApiError(404, "NotFound", message, _details(resource, name))


def unknown_resource() -> ApiError:
    """404 for a group, version, resource or subresource that is not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(resource: Resource | None = None, verb: str = "") -> ApiError:
    """405 MethodNotAllowed."""
    if resource is None or not verb:
        message = "the server does not allow this method on the requested resource"
    else:
        message = f"{verb} is not supported on resources of kind {quote(resource.group_resource)}"
    return ApiError(405, "MethodNotAllowed", message, _details(resource))


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """406 NotAcceptable; `accepted` are media types."""
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 AlreadyExists: `pods "x" already exists`."""
    message = f"{resource.group_resource} {quote(name)} already exists"
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> ApiError:
    """409 Conflict: `Operation cannot be fulfilled on pods "x": why`."""
    message = f"Operation cannot be fulfilled on {resource.group_resource} {quote(name)}: {why}"
    return ApiError(409, "Conflict", message, _details(resource, name))


def apply_conflict(message: str, causes: Sequence[Object]) -> ApiError:
    """409 Conflict of server-side apply; causes have reason FieldManagerConflict."""
    return ApiError(409, "Conflict", message, {"causes": list(causes)})


def gone(message: str) -> ApiError:
    """410 Gone."""
    return ApiError(410, "Gone", message)


def expired(message: str, continue_token: str = "") -> ApiError:
    """410 Expired; a list page may carry a token that goes on inconsistently."""
    return ApiError(410, "Expired", message, None, {"continue": continue_token} if continue_token else None)


def request_entity_too_large(why: str) -> ApiError:
    """413 RequestEntityTooLarge: `Request entity is too large: limit is 3145728`."""
    return ApiError(413, "RequestEntityTooLarge", f"Request entity is too large: {why}")


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415 UnsupportedMediaType; `accepted` are media types."""
    types = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {types}"
    return ApiError(415, "UnsupportedMediaType", message)


def _group_kind(subject: Resource | str) -> tuple[str, str, str]:
    """(qualified name, group, kind) of a resource or of a "Kind.group"."""
    if isinstance(subject, Resource):
        return subject.group_kind, subject.group, subject.kind
    kind, _, group = subject.partition(".")
    return subject, group, kind


def invalid(subject: Resource | str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 Invalid: `Deployment.apps "x" is invalid: spec.replicas: Invalid value: -1: ...`, several in brackets.
    `subject` is a resource, or a kind with its group ("Deployment.apps", "Pod")."""
    qualified, group, kind = _group_kind(subject)
    texts = list(dict.fromkeys(str(error) for error in errors))
    message = f"{qualified} {quote(name)} is invalid"
    if texts:
        message += f": {texts[0]}" if len(texts) == 1 else f": [{', '.join(texts)}]"
    details: Object = {"name": name, "group": group, "kind": kind}
    details = {key: value for key, value in details.items() if value}
    if errors:
        details["causes"] = [error.cause() for error in errors]
    return ApiError(422, "Invalid", message, details)


def unprocessable_patch(resource: Resource | None, name: str, why: str) -> ApiError:
    """422 Invalid for a patch that cannot be applied; Kubernetes hides why in `details.causes`."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, _details(resource, name, causes=[{"message": why}] if why else []))


def too_many_requests(message: str, retry_after_seconds: int = 1, causes: Sequence[Object] = ()) -> ApiError:
    """429 TooManyRequests (with Retry-After)."""
    details: Object = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    if causes:
        details["causes"] = list(causes)
    return ApiError(429, "TooManyRequests", message, details)


def internal_error(why: str) -> ApiError:
    """500 InternalError: `Internal error occurred: why`."""
    return ApiError(500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]})


def server_timeout(resource: Resource, operation: str, retry_after_seconds: int = 1) -> ApiError:
    """500 ServerTimeout: the operation did not end in time; it may have happened."""
    message = (
        f"The {operation} operation against {resource.group_resource} could not be completed at this time, "
        "please try again."
    )
    return ApiError(500, "ServerTimeout", message, _details(resource, retryAfterSeconds=retry_after_seconds))


def service_unavailable(message: str, retry_after_seconds: int = 0) -> ApiError:
    """503 ServiceUnavailable."""
    details = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    return ApiError(503, "ServiceUnavailable", message, details)


def timeout(message: str, retry_after_seconds: int = 0, causes: Sequence[Object] = ()) -> ApiError:
    """504 Timeout: `Timeout: message`."""
    details: Object = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    if causes:
        details["causes"] = list(causes)
    return ApiError(504, "Timeout", f"Timeout: {message}", details)


def too_large_resource_version(wanted: int, current: int) -> ApiError:
    """504 Timeout for a resourceVersion that the store has not reached."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return timeout(f"Too large resource version: {wanted}, current: {current}", 1, [cause])
