"""pods/exec, pods/attach, pods/portforward: which kubelet, with which parameters; the bytes go through tunnel.py.

Any protocol that the kubelet knows is served: WebSocket (v5 and v4 channels, SPDY tunnelled for port-forward) and SPDY/3.1.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlencode

from controlplane.apiserver import tunnel
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import connecting
from controlplane.apiserver.request import is_true, repeated
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.subresources import kubelets
from controlplane.apiserver.subresources.log import container_of
from controlplane.apiserver.verbs import get
from controlplane.objects import status
from controlplane.objects.kinds import Resource

_HEADERS: Final = (
    b"connection",
    b"upgrade",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
    b"x-stream-protocol-version",
)
_KUBELET_NAMES: Final = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))


def stream_parameters(options: Object) -> list[tuple[str, str]]:
    """PodExecOptions' streams as the kubelet names them. A client that names none gets the output."""
    wanted = {name for name, _ in _KUBELET_NAMES if options.get(name)}
    if not wanted & {"stdin", "stdout", "stderr"}:
        wanted |= {"stdout", "stderr"}
    return [(ours, "1") for name, ours in _KUBELET_NAMES if name in wanted]


def _streams(query: dict[str, str]) -> Object:
    """The options that exec and attach have in common."""
    options: Object = {name: True for name, _ in _KUBELET_NAMES if is_true(query.get(name))}
    if query.get("container"):
        options["container"] = query["container"]
    return options


async def handle_exec(context: Context, resource: Resource) -> Result:
    await _authorize(context)
    wanted = {**_streams(context.query), "command": repeated(context.raw_query, "command")}
    options = await connecting.admitted(context, resource, "PodExecOptions", wanted)
    pod = await _pod(context, resource)
    command = options.get("command")
    if not command:
        raise status.bad_request("you must specify at least one command for the container")
    return await _remote_command(context, pod, "exec", options, [("command", word) for word in command])


async def handle_attach(context: Context, resource: Resource) -> Result:
    await _authorize(context)
    options = await connecting.admitted(context, resource, "PodAttachOptions", _streams(context.query))
    return await _remote_command(context, await _pod(context, resource), "attach", options, [])


async def handle_port_forward(context: Context, resource: Resource) -> Result:
    await _authorize(context)
    ports = _ports(repeated(context.raw_query, "ports"))
    options = await connecting.admitted(context, resource, "PodPortForwardOptions", {"ports": ports} if ports else {})
    pod = await _pod(context, resource)
    return await _tunnel(context, pod, "portForward", "", [("port", str(port)) for port in options.get("ports") or ()])


def _ports(values: list[str]) -> list[int]:
    """The ports that are asked for; a value may hold several. Raises 400."""
    words = [word for value in values for word in value.split(",") if word]
    if any(not (word.isascii() and word.isdecimal()) for word in words):
        raise status.bad_request(f"not a list of ports: {', '.join(words)[:200]}")
    return [int(word) for word in words]


async def _authorize(context: Context) -> None:
    """Reading alone is not enough for a stream: a WebSocket comes as a GET. Raises 403 and 405."""
    if context.method not in ("GET", "POST"):
        raise status.method_not_allowed()
    path = context.info.path
    if context.info.verb != "create":
        asked = Attributes(
            "create", path.group, path.version, path.resource, path.subresource, path.name, path.namespace
        )
        if not context.services.authorizer.is_master(context.user):
            await context.services.authorizer.require(context.user, asked)


async def _pod(context: Context, resource: Resource) -> Object:
    """The pod, when it runs somewhere and the client asks for a stream."""
    path = context.info.path
    if not tunnel.wants_upgrade(context):
        raise status.bad_request("Upgrade request required")
    pod = (await get.entry_of(context, resource)).object()
    if not kubelets.node_of(pod):
        raise status.bad_request(f"pod {path.name} does not have a host assigned")
    return pod


async def _remote_command(
    context: Context, pod: Object, verb: str, options: Object, parameters: list[tuple[str, str]]
) -> Result:
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise status.bad_request(f"cannot {verb} a container in a completed pod; current phase is {phase}")
    container = container_of(pod, options.get("container") or "")
    return await _tunnel(context, pod, verb, f"/{quote(container)}", stream_parameters(options) + parameters)


async def _tunnel(context: Context, pod: Object, verb: str, rest: str, parameters: list[tuple[str, str]]) -> Result:
    node, path = kubelets.node_of(pod), context.info.path
    endpoint = await context.services.upstreams.kubelet_endpoint(context.services, node)
    target = f"/{verb}/{path.namespace}/{path.name}{rest}?{urlencode(parameters)}"
    found = await tunnel.opened(context, endpoint, target, tunnel.upgrade_headers(context, _HEADERS))
    if not isinstance(found, tunnel.Refusal):
        return found
    text = found.body.decode(errors="replace").strip()
    if found.code == 404:
        raise status.ApiError(404, "NotFound", text)
    if found.code in (400, 403):
        raise status.bad_request(text)
    raise status.internal_error(f"unable to upgrade connection: {text or f'the kubelet of {node} said {found.code}'}")
