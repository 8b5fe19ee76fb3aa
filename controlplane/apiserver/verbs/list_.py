"""LIST: from the watch cache, once it has seen all that the store had when the list was asked for (or, for a client that
allows something older, at once); pages, and what the cache cannot tell, straight from the store.

Stored bytes are spliced into the answer. `limit` pages at the first page's revision; an expired one is told 410 with a
token that goes on inconsistently.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from controlplane.apiserver import present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.crd.view import served
from controlplane.apiserver.selection import Selection, selection
from controlplane.apiserver.storage import layout, pages
from controlplane.apiserver.storage.backend import Page, RevisionCompacted, Row
from controlplane.apiserver.storage.cache import WatchCache
from controlplane.apiserver.storage.entry import Entry
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.status import FieldError

CHUNK_ROWS: Final = 2000
FUTURE_WAIT_SECONDS: Final = 3.0
_MOST_DIGITS: Final = 19  # of a revision: it is a signed number of 64 bits


@dataclass(slots=True)
class Listing:
    """What a list found."""

    entries: list[Entry] = field(default_factory=list)
    revision: int = 0
    continue_token: str = ""
    remaining: int | None = None


def requested_revision(context: Context, parameter: str = "resourceVersion") -> int | None:
    """The resourceVersion of the query: None when absent; raises 400 for what is no number."""
    text = context.query.get(parameter, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise status.bad_request(f'Invalid value: "{text}": resourceVersion must be a number')
    return int(text)


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    found = await collect(context, selection(context, resource))
    found.entries = list(await served(context.services, resource, found.entries))
    return present.many(context, resource, found, accepted)


def _limit(context: Context) -> int:
    text = context.query.get("limit") or "0"
    try:
        return max(int(text), 0)
    except ValueError as error:
        raise status.bad_request(f'invalid limit: "{text}"') from error


async def collect(context: Context, wanted: Selection) -> Listing:
    """The entries that a list request means, at the revision that it asks for."""
    query = context.query
    revision = requested_revision(context)
    match = query.get("resourceVersionMatch", "")
    _check_options(match, revision, query.get("continue", ""))
    limit, token = _limit(context), query.get("continue", "")
    if token:
        return await _page(context, wanted, limit, pages.decode(token))
    if match == "Exact" and revision is not None:
        await known_revision(context, revision)
        return await _page(context, wanted, limit, pages.Position(revision, ""))
    if revision is not None and not limit:
        cache = await context.services.caches.ready(wanted.resource)
        if revision <= cache.revision:
            return _from_cache(cache, wanted)
        await known_revision(context, revision)
    elif revision:
        await known_revision(context, revision)
    return await (_page(context, wanted, limit, pages.Position(0, "")) if limit else consistent(context, wanted))


async def consistent(context: Context, wanted: Selection) -> Listing:
    """Everything that is meant, as it is in the store now."""
    if wanted.key:
        return await _single(context, wanted)
    # A cache that is not filled (yet, or ever: an object that no key opens) is not waited for: the store answers, or says why.
    caches = context.services.caches
    cache = caches.find(wanted.resource)
    if cache is not None and cache.is_ready and await cache.caught_up(await context.services.store.revision()):
        return _from_cache(cache, wanted)
    found = await _page(context, wanted, 0, pages.Position(0, ""))
    caches.open(wanted.resource, found.revision)  # from there, so that a watch may go on where this list ends
    return found


def _check_options(match: str, revision: int | None, token: str) -> None:
    why = ""
    if match not in ("", "Exact", "NotOlderThan"):
        raise status.invalid(
            "ListOptions.meta.k8s.io",
            "",
            [FieldError.not_supported("resourceVersionMatch", match, ("Exact", "NotOlderThan"))],
        )
    if match and token:
        why = "resourceVersionMatch is forbidden when continue is provided"
    elif match and revision is None:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif match == "Exact" and revision == 0:
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
    if why:
        error = FieldError.forbidden("resourceVersionMatch", why)
        raise status.invalid("ListOptions.meta.k8s.io", "", [error])
    if token and revision:
        raise status.bad_request("specifying resource version is not allowed when using continue")


async def known_revision(context: Context, revision: int) -> None:
    """Return when the store has reached `revision`; raise 504 when it has not within three seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FUTURE_WAIT_SECONDS
    while (current := await context.services.store.revision()) < revision:
        if loop.time() >= deadline:
            raise status.too_large_resource_version(revision, current)
        await asyncio.sleep(0.25)


def _from_cache(cache: WatchCache, wanted: Selection) -> Listing:
    matches = wanted.matcher()
    if wanted.key:
        one = cache.get(wanted.key.encode())
        entries = [one] if one is not None else []
    else:
        entries = cache.entries(wanted.prefix)
    if matches is not None:
        entries = [entry for entry in entries if matches(entry)]
    return Listing(entries, cache.revision)


async def _single(context: Context, wanted: Selection) -> Listing:
    """A list that can only hold one key is a get."""
    row, revision = await context.services.backend.get(wanted.key.encode())
    entries = _entries(context, wanted.resource, [row] if row is not None else [])
    matches = wanted.matcher()
    return Listing([entry for entry in entries if matches is None or matches(entry)], revision)


def _entries(context: Context, resource: Resource, rows: list[Row] | tuple[Row, ...]) -> list[Entry]:
    """Entries of rows; those that the watch cache has too come from there, with what it knows of them."""
    cache = context.services.caches.peek(resource)
    found = []
    for row in rows:
        entry = cache.get(row.key) if cache is not None else None
        if entry is None or entry.revision != row.revision:
            entry = Entry.from_stored(row.key, row.value, row.revision)
        found.append(entry)
    return found


async def _page(context: Context, wanted: Selection, limit: int, position: pages.Position) -> Listing:
    matches = wanted.matcher()
    listing = Listing(revision=max(position.revision, 0))
    prefix, end = wanted.prefix, layout.prefix_end(wanted.prefix)
    start = prefix + position.start.encode()
    while True:
        chunk = min(limit - len(listing.entries), CHUNK_ROWS) if limit and matches is None else CHUNK_ROWS
        page = await _read(context, wanted, start, end, chunk, listing.revision, position)
        listing.revision = page.revision
        entries = _entries(context, wanted.resource, page.rows)
        used = 0
        for entry in entries:
            used += 1
            if matches is None or matches(entry):
                listing.entries.append(entry)
            if limit and len(listing.entries) == limit:
                break
        if limit and len(listing.entries) == limit and (page.more or used < len(entries)):
            last = entries[used - 1].key[len(prefix) :].decode()
            listing.continue_token = pages.encode(pages.Position(listing.revision, last + "\x00"))
            if matches is None:
                listing.remaining = page.count - used
            return listing
        if not page.more:
            return listing
        start = page.rows[-1].key + b"\x00"


async def _read(
    context: Context, wanted: Selection, start: bytes, end: bytes, limit: int, revision: int, position: pages.Position
) -> Page:
    try:
        return await context.services.backend.page(start, end, limit=limit, revision=revision)
    except RevisionCompacted as error:
        if not position.start:
            raise status.expired(pages.TOO_OLD_WITHOUT_TOKEN) from error
        token = pages.encode(pages.Position(pages.INCONSISTENT, start[len(wanted.prefix) :].decode()))
        raise status.expired(pages.TOO_OLD, token) from error
