"""Paths that name no resource: discovery, OpenAPI, health, version, metrics, the keys of the token issuer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from controlplane.apiserver import health
from controlplane.apiserver.context import Answer, Context, Result
from controlplane.apiserver.discovery import version_info
from controlplane.apiserver.fairness import dumps
from controlplane.apiserver.mounts import discovery_answer, openapi_answer, served_groups
from controlplane.objects import status

Handler = Callable[[Context], Awaitable[Result]]

_OPEN: Final = ("/healthz", "/livez", "/readyz", "/version")


def is_open(path: str) -> bool:
    """Whether anybody may read it, without a name."""
    return any(path == root or path.startswith(root + "/") for root in _OPEN)


async def _version(context: Context) -> Result:
    return context.answer(version_info())


async def _metrics(context: Context) -> Result:
    from controlplane.apiserver.metrics import MEDIA_TYPE

    services = context.services
    return Answer(services.metrics.render(services.caches.object_counts()), media_type=MEDIA_TYPE)


async def _root(context: Context) -> Result:
    groups = served_groups(context)
    found = ["/api", "/api/v1", "/apis", "/apis/"]
    for group in groups:
        if group.name:
            found.append(f"/apis/{group.name}")
            found.extend(f"/apis/{group.name}/{version}" for version in group.versions)
    found += ["/healthz", *health.check_paths("/healthz"), "/livez", *health.check_paths("/livez"), "/metrics"]
    found += ["/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", *health.check_paths("/readyz"), "/version"]
    return context.answer({"paths": sorted(found)})


async def _issuer(context: Context) -> Result:
    config = context.services.config
    document = {
        "issuer": config.service_account_issuer,
        "jwks_uri": f"https://{config.advertise_address or config.bind_address}:{config.secure_port}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": context.services.authenticator.tokens.algorithms(),
    }
    return context.answer(document)


async def _keys(context: Context) -> Result:
    answer = context.answer({"keys": context.services.authenticator.tokens.public_keys()})
    return Answer(answer.body, 200, "application/jwk-set+json")


_EXACT: Final[dict[str, Handler]] = {
    "/": _root,
    "": _root,
    "/version": _version,
    "/version/": _version,
    "/metrics": _metrics,
    "/.well-known/openid-configuration": _issuer,
    "/openid/v1/jwks": _keys,
}
_NOT_FOUND: Final = Answer(b"404 page not found\n", 404, "text/plain; charset=utf-8")


async def handle(context: Context) -> Result:
    """The answer; an unknown path is told so in plain text, an unknown resource in a Status."""
    path = context.info.path.path
    if context.info.is_resource:
        return _unknown(context)
    if context.method not in ("GET", "HEAD"):
        raise status.method_not_allowed()
    if path in _EXACT:
        return await _EXACT[path](context)
    if path.startswith(dumps.ROOT):
        return await dumps.handle(context) or _NOT_FOUND
    if path.startswith(("/healthz", "/livez", "/readyz")):
        return await health.handle(context)
    if path.startswith(("/openapi/", "/apis")):  # what any server has answered of a definition is seen here too
        await context.services.custom.caught_up(context.services)
    if path.startswith("/openapi/"):
        return await openapi_answer(context) or _NOT_FOUND
    if path == "/api" or path.startswith(("/api/", "/apis")):
        return discovery_answer(context) or _NOT_FOUND
    return _NOT_FOUND


def _unknown(context: Context) -> Result:
    """Something below a group and version that is served is an unknown resource; anything else an unknown path."""
    path = context.info.path
    if context.services.scheme.in_version(path.group, path.version):
        raise status.unknown_resource()
    return _NOT_FOUND
