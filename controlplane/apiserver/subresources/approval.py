"""certificatesigningrequests/approval: Approved and Denied conditions."""

from __future__ import annotations

from controlplane.apiserver import present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import pipeline
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import NOTHING_ELSE, Also
from controlplane.apiserver.verbs import body, get, patch, update
from controlplane.objects import status
from controlplane.objects.kinds import Resource


async def handle(context: Context, resource: Resource) -> Result:
    if context.info.verb == "get":
        return await get.handle(context, resource)
    accepted = context.accepted()
    if context.info.verb == "patch":
        media_type, change = await patch.read_patch(context)

        async def make(old: Object) -> Object:
            return _merged(old, patch.applied(context, resource, media_type, change, old))
    elif context.info.verb == "update":
        obj, raw = await body.read_raw(context, resource)
        new = pipeline.decoded(context, resource, obj, raw)

        async def make(old: Object) -> Object:
            update.check_revision(resource, new, old)
            return _merged(old, new)
    else:
        raise status.method_not_allowed()
    key = update.object_key(context, resource)
    entry = await update.change_at(context, resource, key, make, _validated, "approval")
    return present.one(context, resource, entry.raw, accepted)


async def _validated(
    context: Context, resource: Resource, wanted: Object, old: Object, subresource: str
) -> tuple[Object, Also]:
    """Conditions get their times, and are checked."""
    now = context.services.environment.timestamp()
    before = {each.get("type"): each for each in (old.get("status") or {}).get("conditions") or ()}
    conditions = []
    for condition in wanted["status"]["conditions"]:
        known = before.get(condition.get("type")) or {}
        moved = now if condition.get("status") != known.get("status") else known.get("lastTransitionTime", now)
        times = {"lastTransitionTime": condition.get("lastTransitionTime") or moved}
        times["lastUpdateTime"] = condition.get("lastUpdateTime") or now
        conditions.append({**condition, **times})
    new = {**wanted, "status": {**wanted["status"], "conditions": conditions}}
    pipeline.validate_update(context, resource, new, old, subresource)
    return new, NOTHING_ELSE


def _merged(old: Object, new: Object) -> Object:
    conditions = (new.get("status") or {}).get("conditions") or []
    return {**old, "status": {**(old.get("status") or {}), "conditions": conditions}}
