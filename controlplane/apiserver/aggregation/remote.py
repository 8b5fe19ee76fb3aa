"""A group and version that another server serves: where it is, how to speak with it, and whether it answers."""

from __future__ import annotations

import base64
import binascii
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.config import ApiServerConfig
from controlplane.apiserver.openapi import gnostic
from controlplane.apiserver.storage import layout
from controlplane.machinery.http import ConnectionLost, HttpClient, Response
from controlplane.objects.kinds import ENDPOINTS, SERVICES

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

Object = dict[str, Any]

CHECK_SECONDS: Final = 5.0
_ASKED_AS: Final = (("x-remote-user", "system:kube-aggregator"), ("x-remote-group", "system:masters"))


class Unavailable(Exception):
    """Why the other server cannot be asked: a reason of the condition Available, and a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect to."""

    host: str
    port: int


@dataclass(slots=True, eq=False)
class Remote:
    """One APIService with a service, and what was learnt of it. `resources` are APIResources of the legacy form;
    `openapi` is what its /openapi/v3 lists, `swagger` its part of /openapi/v2."""

    document: Object
    reason: str = "NotChecked"
    resources: list[Object] = field(default_factory=list)
    openapi: Object = field(default_factory=dict)
    swagger: Object = field(default_factory=dict)
    _context: ssl.SSLContext | None = None

    @property
    def spec(self) -> Object:
        return self.document["spec"]  # type: ignore[no-any-return]

    @property
    def group(self) -> str:
        return str(self.spec.get("group") or "")

    @property
    def version(self) -> str:
        return str(self.spec.get("version") or "")

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"

    @property
    def is_available(self) -> bool:
        return self.reason == "Passed"

    @property
    def service(self) -> tuple[str, str, int]:
        """(namespace, name, port)."""
        found = self.spec["service"]
        return found.get("namespace", ""), found.get("name", ""), int(found.get("port") or 443)

    @property
    def server_name(self) -> str:
        """The name in its certificate."""
        namespace, name, _ = self.service
        return f"{name}.{namespace}.svc"

    def tls(self, config: ApiServerConfig) -> ssl.SSLContext:
        """Trust and our front-proxy certificate. Raises Unavailable for a bundle that cannot be read."""
        if self._context is None:
            self._context = _context(self.spec, config)
        return self._context


def _context(spec: Object, config: ApiServerConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if spec.get("insecureSkipTLSVerify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.get("caBundle"):
        try:
            context.load_verify_locations(cadata=base64.b64decode(spec["caBundle"]).decode("ascii"))
        except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
            message = f"unable to load root certificates: {error}"
            raise Unavailable("FailedDiscoveryCheck", message) from error
    else:
        context.load_default_certs()
    if config.proxy_client_cert_file is not None and config.proxy_client_key_file is not None:
        context.load_cert_chain(str(config.proxy_client_cert_file), str(config.proxy_client_key_file))
    return context


async def place(services: Services, remote: Remote) -> Place:
    """Where its Service leads: an address of a ready endpoint. Raises Unavailable, in Kubernetes' words."""
    namespace, name, port = remote.service
    entry = await services.store.get(layout.key("", SERVICES.plural, namespace, name))
    if entry is None:
        raise Unavailable("ServiceNotFound", f'service/{name} in "{namespace}" is not present')
    spec: Object = entry.object().get("spec") or {}
    if spec.get("type") == "ExternalName":
        return Place(str(spec.get("externalName")), port)
    found = next((each for each in spec.get("ports") or () if each.get("port") == port), None)
    if found is None:
        raise Unavailable("ServicePortError", f'service/{name} in "{namespace}" is not listening on port {port}')
    entry = await services.store.get(layout.key("", ENDPOINTS.plural, namespace, name))
    if entry is None:
        raise Unavailable("EndpointsNotFound", f'cannot find endpoints for service/{name} in "{namespace}"')
    wanted = found.get("name", "")
    choices = [
        Place(address["ip"], int(each["port"]))
        for subset in entry.object().get("subsets") or ()
        for each in subset.get("ports") or ()
        if each.get("name", "") == wanted
        for address in subset.get("addresses") or ()
    ]
    if not choices:
        message = f'endpoints for service/{name} in "{namespace}" have no addresses with port name "{wanted}"'
        raise Unavailable("MissingEndpoints", message)
    return services.environment.random.choice(choices)


async def _get(services: Services, remote: Remote, where: Place, path: str) -> Response:
    host = f"[{where.host}]" if ":" in where.host else where.host
    server = f"https://{host}:{where.port}"
    client = HttpClient(server, remote.tls(services.config), server_name=remote.server_name)
    headers = (*_ASKED_AS, ("accept", "application/json"))
    try:
        return await client.request("GET", path, headers, timeout_seconds=CHECK_SECONDS)
    finally:
        await client.close()


async def check(services: Services, remote: Remote) -> None:
    """Ask for its discovery, and keep it. Raises Unavailable."""
    where = await place(services, remote)
    url = f"https://{where.host}:{where.port}{remote.path}"
    try:
        answer = await _get(services, remote, where, remote.path)
        if not 200 <= answer.status < 300:
            raise ConnectionError(f"bad status from {url}: {answer.status}")
        resources: list[Object] = json.loads(answer.body).get("resources") or []
    except (ConnectionLost, OSError, ValueError, AttributeError) as error:
        message = f"failing or missing response from {url}: {error}"
        raise Unavailable("FailedDiscoveryCheck", message) from error
    remote.resources = resources
    remote.openapi = (await _document(services, remote, where, "/openapi/v3")).get("paths") or {}
    if not remote.swagger:
        remote.swagger = _well_formed(await _document(services, remote, where, "/openapi/v2"))


async def _document(services: Services, remote: Remote, where: Place, path: str) -> Object:
    """A document that it may have."""
    try:
        answer = await _get(services, remote, where, path)
        found = json.loads(answer.body) if answer.status == 200 else {}
    except (ConnectionLost, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _well_formed(swagger: Object) -> Object:
    """A document that can be told in every form that ours has; {} for any other."""
    info = {"title": "", "version": ""}
    try:
        gnostic.encode(
            {"swagger": "2.0", "info": info, "paths": swagger["paths"], "definitions": swagger["definitions"]}
        )
    except (KeyError, TypeError, AttributeError):
        return {}
    return swagger
