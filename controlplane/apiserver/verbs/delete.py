"""DELETE of one object: at once, after its grace period, or when its finalizers are gone."""

from __future__ import annotations

from controlplane.apiserver import admission, present
from controlplane.apiserver.context import Answer, Context, Result
from controlplane.apiserver.registry import deletion, pipeline, versions
from controlplane.apiserver.registry.deletion import Options
from controlplane.apiserver.registry.table import answers_the_deleted, strategy_of
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.store import Changed, Write
from controlplane.apiserver.verbs import body, update
from controlplane.apiserver.webhooks import mutating as webhooks
from controlplane.objects import status
from controlplane.objects.kinds import NAMESPACES, Resource


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    options = deletion.options_from(await body.read_options(context), context.query)
    changed = await remove(context, resource, update.object_key(context, resource), options)
    if not changed.removed or answers_the_deleted(resource):
        return present.one(context, resource, changed.entry.raw, accepted)
    metadata = changed.object["metadata"]
    found = context.answer(status.success(resource, metadata["name"], metadata.get("uid", "")))
    return Answer(found.body, 200, found.media_type)


def _namespace_phase(resource: Resource, obj: Object) -> Object:
    if resource != NAMESPACES:
        return obj
    return {**obj, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}


class _DryRun(Exception):
    def __init__(self, changed: Changed) -> None:
        super().__init__()
        self.changed = changed


async def remove(context: Context, resource: Resource, key: str, options: Options) -> Changed:
    """Delete the object at `key`, or begin to; raises 404 and 409."""
    services, strategy = context.services, strategy_of(resource)
    name = key.rsplit("/", 1)[1]
    now = services.environment.now()

    async def decide(current: Object) -> Write:
        deletion.check_preconditions(resource, current, options)
        old = versions.from_stored(resource, current)
        await webhooks.mutate(pipeline.attributes(context, resource, "DELETE", {}, old))
        await admission.validate(pipeline.attributes(context, resource, "DELETE", {}, old))
        verdict = deletion.decide(strategy.prepare_delete(services, current), options, now, strategy.grace_of)
        kept = None if verdict.keep is None else _namespace_phase(resource, verdict.keep)
        if options.dry_run or context.is_dry_run:
            raise _DryRun(Changed(Entry.unstored(key.encode(), kept or current), current, kept is None))
        return Write(None, strategy.release(current)) if kept is None else Write(kept)

    try:
        return await services.store.change(key, decide, lambda: status.not_found(resource, name))
    except _DryRun as dry:
        return dry.changed
