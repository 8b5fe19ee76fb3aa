"""A request passed on to the server of its group and version, as kube-aggregator does it.

The client was authenticated and authorized here; who it is travels in X-Remote-* headers, which the other server believes
because of our front-proxy certificate. What the client itself sends in such headers is dropped.
"""

from __future__ import annotations

import re
from typing import Final

from controlplane.apiserver import tunnel
from controlplane.apiserver.aggregation.remote import Place, Remote, Unavailable, place
from controlplane.apiserver.context import Answer, Context, Header, Result
from controlplane.apiserver.subresources import kubelets
from controlplane.apiserver.subresources.proxy import streamed
from controlplane.objects.status import ApiError, bad_request

_PREFIX: Final = b"x-remote-"
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_PLAIN: Final = "text/plain; charset=utf-8"


def _refusal(message: str) -> Answer:
    """503, in plain text as Go's http.Error writes it."""
    return Answer(f"{message}\n".encode(), 503, _PLAIN, ((b"x-content-type-options", b"nosniff"),))


def _user_headers(context: Context) -> list[Header]:
    """Who asks, for the other server to believe. A name that would be more than one header line is no name."""
    user = context.user
    found = [(b"x-remote-user", user.name.encode())]
    if user.uid:
        found.append((b"x-remote-uid", user.uid.encode()))
    found += [(b"x-remote-group", group.encode()) for group in user.groups]
    for name, values in sorted(user.extra.items()):
        key = kubelets.quoted(name.lower()).replace("/", "%2F").encode()
        found += [(b"x-remote-extra-" + key, value.encode()) for value in values]
    if any(_CONTROL.search(value) for _, value in found):
        raise bad_request("the name, a group or an extra of the user has control characters")
    return found


def _target(context: Context) -> str:
    query = f"?{context.raw_query.decode('latin-1')}" if context.raw_query else ""
    return kubelets.quoted(context.info.path.path) + query


async def handle(context: Context, remote: Remote) -> Result:
    """The other server's answer; 503 in plain text while it cannot be asked."""
    if not remote.is_available:
        return _refusal("service unavailable")
    try:
        where = await place(context.services, remote)
        endpoint = (where.host, where.port, remote.tls(context.services.config))
    except Unavailable:
        return _refusal("service unavailable")
    try:
        if tunnel.wants_upgrade(context):
            return await _upgraded(context, remote, endpoint)
        return await _passed_on(context, remote, where)
    except ApiError as error:
        if error.code != 503:
            raise
        return _refusal(error.message)


async def _upgraded(context: Context, remote: Remote, endpoint: kubelets.Endpoint) -> Result:
    headers = [each for each in tunnel.upgrade_headers(context) if not each[0].startswith(_PREFIX)]
    headers += _user_headers(context)
    found = await tunnel.opened(context, endpoint, _target(context), headers, remote.server_name)
    return Answer(found.body, found.code, found.media_type) if isinstance(found, tunnel.Refusal) else found


async def _passed_on(context: Context, remote: Remote, where: Place) -> Result:
    body = b"" if context.method in ("GET", "HEAD") else await context.body()
    kept = kubelets.forwarded_headers([each for each in context.all_headers if not each[0].startswith(_PREFIX)])
    told = [(name.decode(), value.decode("latin-1")) for name, value in _user_headers(context)]
    client = await context.services.upstreams.remote(where.host, where.port, remote.server_name, remote.tls)
    upstream = await kubelets.opened(client, context.method, _target(context), (*kept.items(), *told), body)
    return streamed(context, upstream)
