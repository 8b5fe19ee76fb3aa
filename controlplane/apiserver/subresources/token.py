"""serviceaccounts/token: a token for the account, perhaps bound to a pod, a secret or a node."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver import admission
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import pipeline
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import body, get
from controlplane.objects import status
from controlplane.objects.kinds import NODES, PODS, SECRETS, Resource
from controlplane.objects.status import FieldError

LEAST_SECONDS: Final = 600
MOST_SECONDS: Final = 2**32
DEFAULT_SECONDS: Final = 3600
_KIND: Final = Resource("authentication.k8s.io", "v1", "tokenrequests", "TokenRequest", namespaced=True)
_BOUND: Final = {"Pod": ("pod", PODS), "Secret": ("secret", SECRETS), "Node": ("node", NODES)}


async def handle(context: Context, resource: Resource) -> Result:
    if context.info.verb != "create":
        raise status.method_not_allowed()
    services, path = context.services, context.info.path
    request = await body.read_object(context, _KIND)
    account = (await get.entry_of(context, resource)).object()
    tokens = services.authenticator.tokens
    if not tokens.can_issue:
        raise status.unknown_resource()
    await admission.validate(pipeline.attributes(context, resource, "CREATE", request, {}, "token"))
    spec: dict[str, Any] = dict(request.get("spec") or {})
    seconds = int(spec.get("expirationSeconds") or DEFAULT_SECONDS)
    _check_seconds(path.name, seconds)
    longest = services.config.service_account_max_token_expiration_seconds
    seconds = min(seconds, longest) if longest else seconds
    audiences = list(spec.get("audiences") or tokens.audiences)
    bound = await _bound(context, spec.get("boundObjectRef"))
    issued = tokens.issue(services, account, seconds, audiences, bound)
    spec |= {"expirationSeconds": seconds, "audiences": audiences}
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": path.name,
            "namespace": path.namespace,
            "creationTimestamp": services.environment.timestamp(),
        },
        "spec": spec,
        "status": {"token": issued.token, "expirationTimestamp": issued.expires},
    }
    return context.answer(answer, 201)


def _check_seconds(name: str, seconds: int) -> None:
    problem = ""
    if seconds < LEAST_SECONDS:
        problem = "may not specify a duration less than 10 minutes"
    elif seconds > MOST_SECONDS:
        problem = "may not specify a duration larger than 2^32 seconds"
    if problem:
        error = FieldError.invalid("spec.expirationSeconds", seconds, problem)
        raise status.invalid("TokenRequest.authentication.k8s.io", name, [error])


async def _bound(context: Context, reference: Any) -> dict[str, Object]:
    """What the token is bound to, as its claims have it; raises 400, 404 or 409."""
    if not reference:
        return {}
    kind, name = reference.get("kind"), reference.get("name", "")
    if kind not in _BOUND:
        raise status.bad_request(f"cannot bind token for serviceaccount to object of type {kind}")
    claim, resource = _BOUND[kind]
    namespace = context.info.path.namespace if resource.namespaced else ""
    entry = await context.services.store.get(layout.key(resource.group, resource.plural, namespace, name))
    if entry is None:
        raise status.not_found(resource, name)
    obj = entry.object()
    uid = obj["metadata"]["uid"]
    wanted = reference.get("uid")
    if wanted and wanted != uid:
        why = f"the UID in the bound object reference ({wanted}) does not match the UID in record. "
        raise status.conflict(resource, name, why + "The object might have been deleted and then recreated")
    bound: dict[str, Object] = {claim: {"name": name, "uid": uid}}
    node = (obj.get("spec") or {}).get("nodeName") if kind == "Pod" else None
    if node:
        found = await context.services.store.get(layout.key("", NODES.plural, "", node))
        bound["node"] = {"name": node, **({"uid": found.object()["metadata"]["uid"]} if found else {})}
    return bound
