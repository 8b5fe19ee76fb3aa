"""namespaces/finalize: the namespace controller takes its finalizer off; without any, the namespace goes."""

from __future__ import annotations

from controlplane.apiserver import present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import body, update
from controlplane.objects import status
from controlplane.objects.kinds import Resource


async def handle(context: Context, resource: Resource) -> Result:
    if context.info.verb != "update":
        raise status.method_not_allowed()
    accepted = context.accepted()
    wanted, _ = await body.read_raw(context, resource)
    wanted = update.checked_name(context, resource, wanted)

    async def make(old: Object) -> Object:
        update.check_revision(resource, wanted, old)
        spec = {**(old.get("spec") or {}), "finalizers": (wanted.get("spec") or {}).get("finalizers") or []}
        return {**old, "spec": spec}

    key = update.object_key(context, resource)
    entry = await update.change_at(context, resource, key, make, update.as_given, "finalize")
    return present.one(context, resource, entry.raw, accepted)
