"""Questions that are answered and not stored: who am I, may they, what may I, whose token is this."""

from __future__ import annotations

from typing import Any

from controlplane.apiserver.authn.user import User
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.decision import Verdict
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.health import CHECKS
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import body
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.selectors import SelectorError, parse_fields


async def _question(context: Context, resource: Resource) -> Object:
    if context.info.verb != "create":
        raise status.method_not_allowed()
    return await body.read_object(context, resource)


def _answer(context: Context, resource: Resource, question: Object, found: Object) -> Result:
    document = {
        "kind": resource.kind,
        "apiVersion": resource.group_version,
        "metadata": question.get("metadata") or {},
        "spec": question.get("spec") or {},
        "status": found,
    }
    return context.answer(document, 201)


async def token_review(context: Context, resource: Resource) -> Result:
    question = await _question(context, resource)
    spec: dict[str, Any] = question.get("spec") or {}
    if not spec.get("token"):
        raise status.bad_request("token is required for TokenReview in authentication")
    authenticator = context.services.authenticator
    found = await authenticator.user_of_token(context.services, spec["token"], spec.get("audiences") or ())
    if found is None:
        return _answer(
            context, resource, question, {"authenticated": False, "user": {}, "error": "invalid bearer token"}
        )
    user, audiences = found
    return _answer(
        context, resource, question, {"authenticated": True, "user": user.document(), "audiences": list(audiences)}
    )


async def self_subject_review(context: Context, resource: Resource) -> Result:
    question = await _question(context, resource)
    document = {
        "kind": resource.kind,
        "apiVersion": resource.group_version,
        "metadata": {**question["metadata"], "creationTimestamp": context.services.environment.timestamp()},
        "status": {"userInfo": context.user.document()},
    }
    return context.answer(document, 201)


def _asked(spec: dict[str, Any]) -> Attributes:
    """What a review asks about; raises 400 unless it is exactly one thing."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if bool(resource) == bool(path) and not (resource == {} or path == {}):
        raise status.bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    if path:
        return Attributes(path.get("verb", ""), path=path.get("path") or "/")
    resource = resource or {}
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("version", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("name", ""),
        resource.get("namespace", ""),
        fields=_narrowed(resource.get("fieldSelector") or {}),
    )


def _narrowed(selector: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The fields that a review says to have one value each."""
    if selector.get("rawSelector"):
        try:
            wanted = parse_fields(selector["rawSelector"]).requirements
        except SelectorError:
            return ()
        return tuple((each.field, each.value) for each in wanted if each.equals)
    return tuple(
        (each.get("key", ""), each["values"][0])
        for each in selector.get("requirements") or ()
        if each.get("operator") == "In" and len(each.get("values") or ()) == 1
    )


async def _verdict(context: Context, user: User, asked: Attributes) -> Object:
    decision = await context.services.authorizer.decide(user, asked)
    found: Object = {"allowed": decision.allowed}
    if decision.verdict is Verdict.DENY:
        found["denied"] = True
    if decision.reason:
        found["reason"] = decision.reason
    return found


async def self_subject_access_review(context: Context, resource: Resource) -> Result:
    question = await _question(context, resource)
    verdict = await _verdict(context, context.user, _asked(question.get("spec") or {}))
    return _answer(context, resource, question, verdict)


def _subject(spec: dict[str, Any]) -> User:
    if not spec.get("user") and not spec.get("groups"):
        raise status.bad_request("spec.user: Required value: at least one of user or group must be specified")
    extra = {name: tuple(values) for name, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


async def subject_access_review(context: Context, resource: Resource) -> Result:
    question = await _question(context, resource)
    spec = question.get("spec") or {}
    return _answer(context, resource, question, await _verdict(context, _subject(spec), _asked(spec)))


async def local_subject_access_review(context: Context, resource: Resource) -> Result:
    question = await _question(context, resource)
    spec = question.get("spec") or {}
    asked = _asked(spec)
    if asked.namespace != context.info.path.namespace:
        raise status.bad_request("spec.resourceAttributes.namespace must match the namespace of the request")
    return _answer(context, resource, question, await _verdict(context, _subject(spec), asked))


async def self_subject_rules_review(context: Context, resource: Resource) -> Result:
    question = await _question(context, resource)
    namespace = (question.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise status.bad_request("no namespace on request")
    rules = await context.services.authorizer.rules(context.user, namespace)
    unlisted = context.services.authorizer.unlisted(context.user)
    found: Object = {
        "resourceRules": [rule.document() for rule in rules if not rule.paths],
        "nonResourceRules": [rule.document() for rule in rules if rule.paths],
        "incomplete": bool(unlisted),
    }
    if unlisted:
        found["evaluationError"] = unlisted
    return _answer(context, resource, question, found)


async def component_statuses(context: Context, resource: Resource) -> Result:
    """The deprecated ComponentStatus: the store, as this server sees it."""
    if context.info.verb not in ("get", "list"):
        raise status.method_not_allowed()
    why = await CHECKS["/livez"]["etcd"](context.services)
    condition = {"type": "Healthy", "status": "False" if why else "True", "message": why or "ok"}
    item = {
        "kind": resource.kind,
        "apiVersion": resource.group_version,
        "metadata": {"name": "etcd-0"},
        "conditions": [condition],
    }
    if context.info.verb == "list":
        document = {"kind": f"{resource.kind}List", "apiVersion": "v1", "metadata": {}, "items": [item]}
        return context.answer(document)
    if context.info.path.name != "etcd-0":
        raise status.not_found(resource, context.info.path.name)
    return context.answer(item)
