"""DELETE of a collection: every object that the selectors mean, each by the rules of a single deletion."""

from __future__ import annotations

import asyncio
from typing import Final

from controlplane.apiserver import present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import deletion
from controlplane.apiserver.selection import selection
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.verbs import body, delete, list_
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError

CONCURRENT_DELETIONS: Final = 16


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    options = deletion.options_from(await body.read_options(context), context.query)
    listing = await list_.collect(context, selection(context, resource))
    slots = asyncio.Semaphore(CONCURRENT_DELETIONS)

    async def remove(entry: Entry) -> Entry | None:
        async with slots:
            try:
                return (await delete.remove(context, resource, entry.key.decode(), options)).entry
            except ApiError as error:
                if error.reason != "NotFound":  # another was faster
                    raise
                return None

    done = await asyncio.gather(*(remove(entry) for entry in listing.entries), return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each
    listing.entries = [each for each in done if isinstance(each, Entry)]
    return present.many(context, resource, listing, accepted)
