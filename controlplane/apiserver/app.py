"""The ASGI entry: one request from its first header to its last byte.

parse -> who -> (as whom) -> may they -> verb or subresource -> answer.  Every failure leaves as a Status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from controlplane.apiserver import deadline, negotiate, paths, request
from controlplane.apiserver.aggregation import proxy as aggregated
from controlplane.apiserver.audit import Auditor
from controlplane.apiserver.authn.impersonation import impersonated
from controlplane.apiserver.authn.user import User
from controlplane.apiserver.authz.authorizer import Authorizer
from controlplane.apiserver.connection import Connection
from controlplane.apiserver.context import Answer, ClientGone, Context, Header, Result, Stream, Upgraded
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.crd.view import VersionedStore, warn_deprecated
from controlplane.apiserver.fairness.fairness import list_seats
from controlplane.apiserver.services import Services
from controlplane.apiserver.storage import codec
from controlplane.apiserver.storage.backend import RevisionCompacted
from controlplane.apiserver.subresources import SUBRESOURCES
from controlplane.apiserver.verbs import VERBS
from controlplane.objects import status
from controlplane.objects.status import ApiError

Scope = dict[str, Any]
Send = Callable[[Any], Awaitable[None]]

_NOBODY: Final = User("")
OUR_FAULT: Final = "this request made the server fail; its log tells why"  # no traceback, no values leave the server
_BASE_HEADERS: Final = ((b"cache-control", b"no-cache, private"),)

logger = logging.getLogger(__name__)


class App:
    """The ASGI application."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._deadlines = deadline.Deadlines(services.config.request_timeout_seconds)

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        assert scope["type"] == "http", "WebSockets come as HTTP requests to upgrade"
        context = self._context(scope, receive)
        loop = asyncio.get_running_loop()
        started = loop.time()
        metrics = self._services.metrics
        gauge = metrics.reading if context.method in ("GET", "HEAD") else metrics.mutating
        gauge.inc()
        try:
            result = await self._guarded(context)
        except ClientGone:
            return
        finally:
            gauge.dec()
        metrics.observe(context, result.code, loop.time() - started)
        if isinstance(result, Answer) and result.media_type == negotiate.JSON and context.is_pretty:
            result = replace(result, body=codec.indented(result.body))
        if self._services.audit is not None:
            await self._audited(self._services.audit, context, result, send)
        elif isinstance(result, Answer):
            await _send_answer(context, result, send)
        elif isinstance(result, Upgraded):
            await self._run_upgraded(context, result)
        else:
            await self._send_stream(context, result, send)

    async def _audited(self, audit: Auditor, context: Context, result: Result, send: Send) -> None:
        """Send the answer, and tell the audit log."""
        if context.audit is None and not context.user.name:
            audit.begin(context)  # nobody knew who it was
        if isinstance(result, Answer):
            audit.completed(context, result)
            await _send_answer(context, result, send)
            return
        audit.started(context, result)
        try:
            if isinstance(result, Upgraded):
                await self._run_upgraded(context, result)
            else:
                await self._send_stream(context, result, send)
        finally:
            audit.completed(context, result)

    def _context(self, scope: Scope, receive: Any) -> Context:
        raw_query: bytes = scope["query_string"]
        query = request.parse_query(raw_query)
        method: str = scope["method"]
        connection: Connection = scope["state"]["connection"]
        return Context(
            services=self._services,
            method=method,
            info=request.parse(method, scope["path"], query),
            query=query,
            raw_query=raw_query,
            all_headers=scope["headers"],
            headers=dict(scope["headers"]),
            user=_NOBODY,
            receive=receive,
            connection=connection,
            audit_id=self._services.environment.uid(),
        )

    async def _guarded(self, context: Context) -> Result:
        """The result; every exception becomes a Status."""
        task = asyncio.current_task()
        assert task is not None
        try:
            self._deadlines.begin(context, task, asyncio.get_running_loop())
            return await self._serve(context)
        except ApiError as error:
            return _failure(context, error)
        except RevisionCompacted:
            return _failure(context, status.expired("The resourceVersion for the provided list is too old."))
        except asyncio.CancelledError:
            if not context.is_late:
                raise
            task.uncancel()
            return _failure(context, status.timeout(deadline.MESSAGE))
        except ClientGone:
            raise
        except Exception:
            logger.exception("%s %s failed", context.method, context.info.path.path)
            if context.audit is not None:
                context.audit.broke = True
            return _failure(context, status.internal_error(OUR_FAULT))
        finally:
            self._deadlines.end(task)

    async def _serve(self, context: Context) -> Result:
        services = self._services
        open_path = not context.info.is_resource and paths.is_open(context.info.path.path)
        context.user = await services.authenticator.authenticate(context, may_be_anonymous=open_path)
        if services.audit is not None:
            services.audit.begin(context)
        if any(name.startswith(b"impersonate-") for name in context.headers):
            context.user = await impersonated(context)
        flow = services.fairness.flow(context.user, context.info)
        if flow is None:
            return await self._permitted(context)
        context.flow = flow
        seats = 1 if context.info.verb != "list" else self._list_seats(context)
        if not flow.level.try_enter(seats):
            await services.fairness.wait(flow, seats)
        flow.dispatched[0] += 1
        try:
            return await self._permitted(context)
        finally:
            flow.level.leave(seats)

    def _list_seats(self, context: Context) -> int:
        path = context.info.path
        limit = context.query.get("limit", "0")
        return list_seats(self._services.caches.count(path.group, path.resource), int(limit) if limit.isdigit() else 0)

    async def _permitted(self, context: Context) -> Result:
        services = self._services
        if context.audit is None or services.audit is None:
            await services.authorizer.check(context)
        else:
            await _told(services.audit, services.authorizer, context)
        remote = services.aggregation.serving(context.info.path.path)
        if remote is not None:
            return await aggregated.handle(context, remote)
        if not context.info.is_resource:
            return await paths.handle(context)
        return await self._dispatch(context)

    async def _dispatch(self, context: Context) -> Result:
        path = context.info.path
        info = self._services.scheme.find(path.group, path.version, path.resource)
        if info is None and path.group:  # perhaps another server has just answered its definition
            await self._services.custom.caught_up(self._services)
            info = self._services.scheme.find(path.group, path.version, path.resource)
        if info is None:
            return await paths.handle(context)
        resource = info.resource
        if isinstance(resource, CustomResource):
            context.services = replace(self._services, store=VersionedStore(self._services, resource))
            warn_deprecated(context, resource)
        if path.namespace and not resource.namespaced and path.resource != "namespaces":
            raise status.unknown_resource()
        if path.subresource:
            handler = SUBRESOURCES.find(resource, path.subresource)
            if handler is None:
                raise status.unknown_resource()
            return await handler(context, resource)
        if context.info.verb not in info.verbs:
            raise status.method_not_allowed()
        handler = SUBRESOURCES.virtual(resource) or VERBS[context.info.verb]
        if (
            resource.namespaced
            and not path.namespace
            and context.info.verb not in ("list", "watch", "deletecollection")
        ):
            raise status.method_not_allowed()
        return await handler(context, resource)

    async def _run_upgraded(self, context: Context, upgraded: Upgraded) -> None:
        gauge = self._services.metrics.longrunning(context)
        gauge.inc()
        try:
            await upgraded.run()
        finally:
            gauge.dec()

    async def _send_stream(self, context: Context, stream: Stream, send: Send) -> None:
        head = {"type": "http.response.start", "status": stream.code, "headers": _headers(context, stream)}
        await send(head)

        async def send_chunk(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        await send_chunk(b"")  # the head goes out now: the first event may be hours away
        gauge = self._services.metrics.longrunning(context)
        gauge.inc()
        try:
            await stream.run(send_chunk)
        finally:
            gauge.dec()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _told(audit: Auditor, authorizer: Authorizer, context: Context) -> None:
    """Authorize, and note the decision."""
    try:
        await authorizer.check(context)
    except ApiError as error:
        if error.code == 403:
            audit.decided(context, allowed=False, reason=error.message)
        raise
    audit.decided(context, allowed=True)


def _failure(context: Context, error: ApiError) -> Answer:
    headers: tuple[Header, ...] = ()
    if error.retry_after_seconds:
        headers = ((b"retry-after", str(error.retry_after_seconds).encode()),)
    if error.code == 401:
        headers += ((b"www-authenticate", b'Bearer realm="kubernetes"'),)
    try:
        media_type = context.accepted(tables=False).media_type
    except ApiError:
        media_type = negotiate.JSON
    return Answer(negotiate.render(error.status(), media_type), error.code, media_type, headers)


def _headers(context: Context, result: Answer | Stream) -> list[Header]:
    headers: list[Header] = [(b"audit-id", context.audit_id.encode()), (b"content-type", result.media_type.encode())]
    if not any(name == b"cache-control" for name, _ in result.headers):
        headers.extend(_BASE_HEADERS)
    headers.extend(result.headers)
    if context.flow is not None:
        headers.extend(context.flow.headers)
    for text in context.warnings:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
        headers.append((b"warning", f'299 - "{escaped}"'.encode()))
    return headers


async def _send_answer(context: Context, answer: Answer, send: Send) -> None:
    headers = _headers(context, answer)
    if answer.code != 304:
        headers.append((b"content-length", str(len(answer.body) + answer.rest_bytes).encode()))
    await send({"type": "http.response.start", "status": answer.code, "headers": headers})
    if answer.rest_bytes:
        body = answer.body
        for piece in answer.rest:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            body = piece
        await send({"type": "http.response.body", "body": body, "more_body": False})
    else:
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})
