"""DELETE of a collection: every object that the selectors mean, each by the rules of a single deletion."""

from __future__ import annotations

from controlplane.apiserver import present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import deletion
from controlplane.apiserver.selection import selection
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.verbs import body, delete, list_
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    options = deletion.options_from(await body.read_options(context), context.query)
    listing = await list_.collect(context, selection(context, resource))
    done: list[Entry] = []
    for entry in listing.entries:
        try:
            done.append((await delete.remove(context, resource, entry.key.decode(), options)).entry)
        except ApiError as error:
            if error.reason != "NotFound":  # another was faster
                raise
    listing.entries = done
    return present.many(context, resource, listing, accepted)
