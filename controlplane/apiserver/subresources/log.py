"""pods/log: the kubelet's text, passed on as it comes."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from controlplane.apiserver.context import Answer, Context, Result, SendChunk, Stream
from controlplane.apiserver.request import is_true
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.subresources import kubelets
from controlplane.apiserver.verbs import get
from controlplane.machinery.http import ConnectionLost, ResponseStream
from controlplane.objects import status
from controlplane.objects.kinds import Resource

_OPTIONS: Final[tuple[str, ...]] = (
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "stream",
)
_TEXT: Final = "text/plain"
MOST_ERROR_BYTES: Final = 64 * 1024


def container_of(pod: Object, wanted: str) -> str:
    """The container that is meant; raises 400 when that is not clear."""
    spec: dict[str, Any] = pod.get("spec") or {}
    regular = [each["name"] for each in spec.get("containers") or ()]
    initial = [each["name"] for each in spec.get("initContainers") or ()]
    ephemeral = [each["name"] for each in spec.get("ephemeralContainers") or ()]
    name = pod["metadata"]["name"]
    if wanted:
        if wanted not in (*regular, *initial, *ephemeral):
            raise status.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in regular:
        return str(default)
    if len(regular) == 1:
        return str(regular[0])
    choices = f"[{' '.join(regular)}]"
    text = f"a container name must be specified for pod {name}, choose one of: {choices}"
    if initial:
        text += f" or one of the init containers: [{' '.join(initial)}]"
    raise status.bad_request(text)


async def handle(context: Context, resource: Resource) -> Result:
    if context.info.verb != "get":
        raise status.method_not_allowed()
    pod = (await get.entry_of(context, resource)).object()
    container = container_of(pod, context.query.get("container", ""))
    node, path = kubelets.node_of(pod), context.info.path
    if not node:
        return Answer(b"", media_type=_TEXT)
    client = await context.services.upstreams.kubelet(context.services, node)
    options = {name: context.query[name] for name in _OPTIONS if name in context.query}
    target = f"/containerLogs/{path.namespace}/{path.name}/{container}?{urlencode(options)}"
    upstream = await kubelets.opened(client, "GET", target)
    if upstream.status != 200:
        async with upstream:
            text = (await upstream.read(MOST_ERROR_BYTES)).decode(errors="replace").strip()
        if upstream.status == 404:
            raise status.ApiError(404, "NotFound", text or "the server could not find the requested resource")
        if upstream.status == 400:
            raise status.bad_request(text)
        raise status.internal_error(f"the kubelet of {node} answered {upstream.status}: {text}")
    follow = is_true(context.query.get("follow"))
    return Stream(lambda send: _copy(context, upstream, send, follow=follow), media_type=_TEXT)


async def _copy(context: Context, upstream: ResponseStream, send: SendChunk, *, follow: bool) -> None:
    """Pass chunks on until either side goes, or the server stops."""
    forget = context.connection.on_lost(upstream.close)
    leave = context.services.streams.enter(upstream.close) if follow else None
    try:
        async with upstream:
            async for chunk in upstream:
                await send(chunk)
    except ConnectionLost:
        if not context.connection.is_lost and not context.services.is_stopping:
            raise
    finally:
        forget()
        if leave is not None:
            leave()
