"""ApiClient: the API's verbs as coroutines over JSON. See the package docstring for the list of them.

Objects are plain dicts and are never changed after they came in; whoever wants another object builds one. Every Status
that is an error is raised as `ApiError`; `ConnectionLost` means that nothing (whole) answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from controlplane.machinery.config import ClientConfig
from controlplane.machinery.http import ConnectionLost, HttpClient, Response, ResponseStream
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError

__all__ = ["ApiClient", "ApiError", "ConnectionLost", "Object", "Response", "ResponseStream", "WatchEvent"]

Object = dict[str, Any]
PatchType = Literal["merge", "strategic", "json", "apply"]

REQUEST_TIMEOUT_SECONDS = 30.0
TOKEN_LIFETIME_SECONDS = 60.0  # how long a token read from a file is used before it is read again
WATCH_LINE_LIMIT_BYTES = 16 << 20

_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch. `type` is ADDED, MODIFIED, DELETED or BOOKMARK; an ERROR line is raised as ApiError."""

    type: str
    object: Object


class ApiClient:
    """Typed verbs over one pool of connections. Safe to share between all tasks of a loop; `close()` at the end."""

    def __init__(self, config: ClientConfig, *, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> None:
        self.config = config
        self._http = HttpClient(config.server, config.ssl_context(), server_name=config.tls_server_name)
        self._timeout_seconds = timeout_seconds
        self._token = config.token
        self._token_read_at = float("-inf")

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str = ""
    ) -> Object:
        """One object. ApiError 404 when it is not there."""
        return await self._call("GET", resource.path(namespace, _segment(name), subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Object:
        """The List object (one page of it with `limit`). ApiError 410 when `continue_token` is too old."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit) if limit else "",
            "continue": continue_token,
            "resourceVersion": resource_version,
        }
        headers = {"accept": _METADATA_LIST} if metadata_only else None
        return await self._call("GET", resource.path(namespace), query=query, headers=headers)

    async def create(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str = "",
        name: str = "",
    ) -> Object:
        """The object as created; with `subresource` and `name` a post to it (binding, token, eviction).

        The namespace defaults to the object's own. ApiError 409 AlreadyExists, 422 Invalid, 403 Forbidden.
        """
        metadata = obj.get("metadata") or {}
        namespace = namespace or metadata.get("namespace")
        return await self._call("POST", resource.path(namespace, _segment(name), subresource), obj)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replace; with `metadata.resourceVersion` only if it is still that one (else ApiError 409 Conflict)."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), _segment(metadata["name"]), subresource)
        return await self._call("PUT", path, obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        """Patch one object. A merge patch with `metadata.resourceVersion` or `metadata.uid` is conditional on them."""
        query = {"fieldManager": field_manager, "force": "true" if force else ""}
        headers = {"content-type": _PATCH_TYPES[type]}
        path = resource.path(namespace, _segment(name), subresource)
        return await self._call("PATCH", path, patch, query=query, headers=headers)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "",
    ) -> Object:
        """The object while it lives on, or a Status when it is gone. `propagation`: Background, Foreground, Orphan.

        ApiError 404 when it is not there, 409 Conflict when `uid` or `resource_version` is no longer the object's.
        """
        options = delete_options(grace_period_seconds, uid, resource_version, propagation)
        return await self._call("DELETE", resource.path(namespace, _segment(name)), options)

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_period_seconds: int | None = None,
        propagation: str = "",
    ) -> Object:
        """Delete all that match."""
        options = delete_options(grace_period_seconds, None, None, propagation)
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return await self._call("DELETE", resource.path(namespace), options, query=query)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
        bookmarks: bool = True,
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version` until the server ends the watch (which is normal: watch again from the last).

        ApiError 410 Expired when that version is too old: list again. ConnectionLost when the connection broke off.
        Leave it with `aclosing` (or by cancelling the task), so that the connection closes at once.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true" if bookmarks else "",
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": str(timeout_seconds) if timeout_seconds else "",
        }
        headers = {"accept": _METADATA} if metadata_only else None
        async with await self.stream("GET", resource.path(namespace), query=query, headers=headers) as stream:
            async for lines in _lines(stream):
                for line in lines:
                    yield _event(line)

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        """Any request; the answer as it is, whatever its status. A body that is not bytes is sent as JSON."""
        data = b"" if body is None else body if isinstance(body, bytes) else _encode(body)
        all_headers = self._headers(headers, has_body=body is not None)
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        return await self._http.request(method, _target(path, query), all_headers, data, timeout)

    async def stream(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> ResponseStream:
        """Any request whose answer is read as it comes (logs, watches). ApiError when the status is an error."""
        all_headers = self._headers(headers, has_body=bool(body))
        stream = await self._http.stream(method, _target(path, query), all_headers, body, self._timeout_seconds)
        if stream.status >= 400:
            async with stream, asyncio.timeout(self._timeout_seconds):
                raise _error(stream.status, await stream.read())
        return stream

    def reload(self) -> None:
        """Read the files of the configuration again (a certificate that was renewed). ConfigError when they cannot be used."""
        self._http.renew(self.config.ssl_context())

    async def close(self) -> None:
        """Drop all connections. Watches and requests in flight end in ConnectionLost."""
        await self._http.close()

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        response = await self.raw(method, path, body, headers, query)
        if response.status >= 400:
            raise _error(response.status, response.body)
        try:
            document = _decode(response.body)
        except msgspec.DecodeError:
            document = None
        if not isinstance(document, dict):
            raise ApiError(500, "InternalError", f"{method} {path}: the answer is not a JSON object")
        return document

    def _headers(self, headers: Mapping[str, str] | None, *, has_body: bool) -> dict[str, str]:
        all_headers = {"accept": "application/json", "user-agent": self.config.user_agent}
        if has_body:
            all_headers["content-type"] = "application/json"
        if token := self._bearer_token():
            all_headers["authorization"] = f"Bearer {token}"
        return {**all_headers, **headers} if headers else all_headers

    def _bearer_token(self) -> str:
        if self.config.token_file:
            now = asyncio.get_running_loop().time()
            if now - self._token_read_at > TOKEN_LIFETIME_SECONDS:
                self._token, self._token_read_at = Path(self.config.token_file).read_text().strip(), now
        return self._token


def delete_options(
    grace_period_seconds: int | None, uid: str | None, resource_version: str | None, propagation: str
) -> Object:
    """The body of a DELETE."""
    options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    if set_ones := {key: value for key, value in preconditions.items() if value is not None}:
        options["preconditions"] = set_ones
    if propagation:
        options["propagationPolicy"] = propagation
    return options


def _segment(name: str) -> str:
    return quote(name, safe=":")


def _target(path: str, query: Mapping[str, str] | None) -> str:
    chosen = {key: value for key, value in query.items() if value} if query else None
    return f"{path}?{urlencode(chosen)}" if chosen else path


def _error(status: int, body: bytes) -> ApiError:
    try:
        document = _decode(body)
    except msgspec.DecodeError:
        document = None
    if isinstance(document, dict) and document.get("kind") == "Status":
        return ApiError.from_status({"code": status, **document})
    text = body[:512].decode(errors="replace").strip()
    reason = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 503: "ServiceUnavailable"}.get(status, "Unknown")
    return ApiError(status, reason, text or f"the server answered {status}")


def _event(line: bytes) -> WatchEvent:
    try:
        document = _decode(line)
    except msgspec.DecodeError as error:
        raise ConnectionLost(f"malformed watch event: {error}", sent=True) from error
    kind, obj = document["type"], document["object"]
    if kind == "ERROR":
        raise ApiError.from_status(obj)
    return WatchEvent(kind, obj)


async def _lines(stream: ResponseStream) -> AsyncIterator[list[bytes]]:
    """The whole lines of a stream, as many at once as have come; an unfinished last line is dropped."""
    rest = b""
    async for chunk in stream:
        data = rest + chunk if rest else chunk
        lines = data.split(b"\n")
        rest = lines.pop()
        if len(rest) > WATCH_LINE_LIMIT_BYTES:
            raise ConnectionLost("a watch event longer than the limit", sent=True)
        if found := [line for line in lines if line]:
            yield found
