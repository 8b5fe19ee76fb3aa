"""One server's APIServices: registers what it serves itself, checks what others serve, writes the conditions.

Every server does this for itself. What they write is the same whoever writes it (but for which of them reaches the other
server), by compare-and-swap, so that no leader is needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.aggregation import local
from controlplane.apiserver.aggregation.remote import Remote, Unavailable, check
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.cache import Event, WatchCache
from controlplane.apiserver.storage.store import Write
from controlplane.objects import status
from controlplane.objects.kinds import API_SERVICES
from controlplane.objects.meta import condition_of
from controlplane.objects.scheme import Scheme
from controlplane.objects.status import ApiError

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

Object = dict[str, Any]

RETRY_SECONDS: Final = 1.0  # while some server is not available
PERIOD_SECONDS: Final = 10.0  # between checks of those that are

logger = logging.getLogger(__name__)


class Registrations:
    """The APIServices that this server knows; `ready` begins to follow them."""

    def __init__(self) -> None:
        self.remotes: dict[tuple[str, str], Remote] = {}
        self.documents: dict[str, tuple[Scheme, Any]] = {}  # merged ones, until something that they show changes
        self._base: Scheme | None = None
        self._cache: WatchCache | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look again: something that is registered may have changed."""
        self._wake.set()

    def serving(self, path: str) -> Remote | None:
        """The other server that answers below /apis/GROUP/VERSION; None when it is this one."""
        if not self.remotes:
            return None
        segments = path.split("/", 4)
        return self.remotes.get((segments[2], segments[3])) if len(segments) > 3 and segments[1] == "apis" else None

    async def ready(self, services: Services) -> None:
        """Know every APIService that there is now, and follow them."""
        if self._cache is None:
            self._base = services.scheme
            self._cache = services.caches.open(API_SERVICES)
            self._cache.listen(self._on_event)
        await services.caches.ready(API_SERVICES)

    # What is known

    def _on_event(self, event: Event | None) -> None:
        if event is None:
            assert self._cache is not None
            known = {self._learn(entry.object()) for entry in self._cache.entries()}
            for key in set(self.remotes) - known:
                self._forget(key)
        elif event.deleted:
            spec = event.entry.object()["spec"]
            self._forget((spec.get("group") or "", spec.get("version") or ""))
        else:
            self._learn(event.entry.object())
        self._wake.set()

    def _learn(self, document: Object) -> tuple[str, str]:
        spec = document["spec"]
        key = (spec.get("group") or "", spec.get("version") or "")
        before = self.remotes.get(key)
        if not spec.get("service"):
            self._forget(key)
        elif before is None or before.spec != spec:
            condition = condition_of(document, "Available") or {}
            self.remotes[key] = Remote(document, condition.get("reason") or "NotChecked")
            self.documents.clear()
        return key

    def _forget(self, key: tuple[str, str]) -> None:
        if self.remotes.pop(key, None) is not None:
            self.documents.clear()

    # What is done

    async def run(self, services: Services) -> None:
        """Register and check, for ever."""
        await self.ready(services)
        while True:
            self._wake.clear()
            failed = False
            try:
                await self._register(services)
                await self._check_all(services)
            except (ApiError, OSError, TimeoutError) as error:
                logger.info("API services: %s", error)
                failed = True
            restless = failed or any(not remote.is_available for remote in self.remotes.values())
            await self._rest(RETRY_SECONDS if restless else PERIOD_SECONDS if self.remotes else None)

    async def _rest(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _register(self, services: Services) -> None:
        """What this server serves has an APIService, and what nobody serves any more has none."""
        assert self._cache is not None and self._base is not None
        known = {entry.object()["metadata"]["name"]: entry.object() for entry in self._cache.entries()}
        wanted = {each["metadata"]["name"]: each for each in self._wanted(services)}
        missing = [document for name, document in wanted.items() if name not in known]
        await asyncio.gather(*(_create(services, document) for document in missing))
        stale = [name for name, document in known.items() if name not in wanted and _is_left_over(document)]
        if stale:
            await services.custom.caught_up(services)
            served = {each["metadata"]["name"] for each in self._wanted(services)}
            for name in stale:
                if name not in served:
                    await _change(services, name, lambda document: None)

    def _wanted(self, services: Services) -> list[Object]:
        assert self._base is not None
        return list(local.wanted(self._base, services.scheme, services.environment.timestamp()))

    async def _check_all(self, services: Services) -> None:
        assert self._cache is not None
        await asyncio.gather(*(self._check(services, remote) for remote in list(self.remotes.values())))
        for entry in self._cache.entries():
            document = entry.object()
            if not document["spec"].get("service") and _differs(document, local.LOCAL_CONDITION):
                await _write_condition(services, document["metadata"]["name"], local.LOCAL_CONDITION)

    async def _check(self, services: Services, remote: Remote) -> None:
        before = (remote.reason, remote.resources, remote.openapi)
        try:
            await check(services, remote)
        except Unavailable as error:
            remote.reason, message = error.reason, error.message
        else:
            remote.reason, message = "Passed", "all checks passed"
        if before != (remote.reason, remote.resources, remote.openapi):
            self.documents.clear()
        verdict = "True" if remote.is_available else "False"
        condition = {"type": "Available", "status": verdict, "reason": remote.reason, "message": message}
        await _write_condition(services, remote.document["metadata"]["name"], condition)


def _is_left_over(document: Object) -> bool:
    labels = document["metadata"].get("labels") or {}
    return labels.get(local.AUTOMANAGED) == local.WHILE_THERE and not document["spec"].get("service")


def _differs(document: Object, condition: Object) -> bool:
    """Whether it says something else: which endpoint failed in which words is not worth a write."""
    found = condition_of(document, "Available") or {}
    return any(found.get(name) != condition[name] for name in ("status", "reason"))


def _key(name: str) -> str:
    return layout.key(API_SERVICES.group, API_SERVICES.plural, "", name)


async def _create(services: Services, document: Object) -> None:
    environment = services.environment
    new = {"uid": environment.uid(), "creationTimestamp": environment.timestamp()}
    await services.store.create(
        _key(document["metadata"]["name"]), {**document, "metadata": {**document["metadata"], **new}}
    )


async def _write_condition(services: Services, name: str, condition: Object) -> None:
    def with_condition(document: Object) -> Object:
        if not _differs(document, condition):
            return document
        found = condition_of(document, "Available") or {}
        since = found.get("lastTransitionTime") if found.get("status") == condition["status"] else None
        known = {**condition, "lastTransitionTime": since or services.environment.timestamp()}
        held = (document.get("status") or {}).get("conditions") or ()
        others = [each for each in held if each.get("type") != condition["type"]]
        return {**document, "status": {**(document.get("status") or {}), "conditions": [*others, known]}}

    await _change(services, name, with_condition)


async def _change(services: Services, name: str, make: Callable[[Object], Object | None]) -> None:
    async def decide(current: Object) -> Write:
        return Write(make(current))

    try:
        await services.store.change(_key(name), decide, lambda: status.not_found(API_SERVICES, name))
    except ApiError as error:
        if error.code != 404:
            raise
