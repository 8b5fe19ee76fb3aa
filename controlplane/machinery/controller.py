"""The one loop under all controllers: keys come from watches, a pure plan says what to do, one executor does it.

A reconciler is a module or an object with NAME, WATCHES, `observe` and `plan` (see `Reconciler`). The runner

- hands out each key to one worker at a time and retries failures with the key's back-off;
- executes a plan's actions side by side with slow start, so that one refusal (a quota) does not cost a hundred;
- keeps the key until the caches show what it wrote (`_Barrier`): the next plan never works on what it just made stale.
  If that takes too long, or the outcome of a write is unknown, nothing breaks: a create has the same name when it is planned
  again on the same cache, and updates and deletes carry preconditions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Protocol

from controlplane.machinery.actions import Action, Create, Delete, Note, Patch, Plan, Update
from controlplane.machinery.backoff import Backoff
from controlplane.machinery.cache import Cache, Change, revision_of
from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost
from controlplane.machinery.clock import Clock
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import Informer, InformerFactory
from controlplane.machinery.workqueue import WorkQueue
from controlplane.objects.kinds import Resource
from controlplane.objects.meta import controller_of, key_of

__all__ = ["Caches", "Controller", "Kind", "Owned", "Reads", "Reconciler", "Related"]

log = logging.getLogger("controlplane.machinery")

Object = dict[str, Any]

MAXIMUM_PARALLEL_ACTIONS = 16
BARRIER_SECONDS = 10.0  # how long to wait for the caches to show our own writes
QUIET_FAILURES = 4  # failures of a key in a row before they are worth a warning


class Caches:
    """The caches a reconciler may read, by resource: those it named in WATCHES."""

    __slots__ = ("_informers",)

    def __init__(self, informers: dict[Resource, Informer]) -> None:
        self._informers = informers

    def __getitem__(self, resource: Resource) -> Cache:
        return self._informers[resource].cache


@dataclass(frozen=True, slots=True)
class Kind:
    """Each object of the resource is a key. `changed(old, new)` may say that a modification is of no interest;
    `field_selector` keeps all others out of this process."""

    resource: Resource
    changed: Callable[[Object, Object], bool] | None = None
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """A change of an object of `resource` concerns the object of `by` that controls it."""

    resource: Resource
    by: Resource
    changed: Callable[[Object, Object], bool] | None = None


@dataclass(frozen=True, slots=True)
class Related:
    """A change of an object of `resource` concerns the keys that `keys(object, caches)` names (old and new state)."""

    resource: Resource
    keys: Callable[[Object, Caches], Iterable[str]]
    changed: Callable[[Object, Object], bool] | None = None
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Reads:
    """The resource is read from the cache; its changes concern no key."""

    resource: Resource


Watch = Kind | Owned | Related | Reads


class Reconciler(Protocol):
    """A controller: a module or an object. `plan` is pure and may not wait; `observe` reads caches and nothing else.

    One that must ask the API something that no cache holds also has `async def fetch(observed, client) -> observed`,
    which runs between the two. One that finds its keys itself has `async def setup(queue, informers, client)`, which
    runs first.
    """

    @property
    def NAME(self) -> str:
        """As kube-controller-manager names it."""

    @property
    def WATCHES(self) -> tuple[Watch, ...]:
        """What to follow, and which keys a change concerns."""

    def observe(self, key: str, caches: Caches, /) -> Any:
        """All that the plan needs, or None when there is nothing (left) to do for the key."""

    def plan(self, observed: Any, now: Any, /) -> Plan:
        """What to do about it."""


Fetch = Callable[[Any, ApiClient], Awaitable[Any]]
Setup = Callable[[WorkQueue[str], InformerFactory, ApiClient], Awaitable[None]]


class Controller:
    """Runs one reconciler over shared informers. `run` until cancelled."""

    def __init__(
        self,
        reconciler: Reconciler,
        informers: InformerFactory,
        client: ApiClient,
        recorder: EventRecorder,
        *,
        clock: Clock,
        random: Random,
        workers: int = 5,
    ) -> None:
        self.name = reconciler.NAME
        self.queue: WorkQueue[str] = WorkQueue(random)
        self._reconciler = reconciler
        self._fetch: Fetch | None = getattr(reconciler, "fetch", None)
        self._setup: Setup | None = getattr(reconciler, "setup", None)
        self._factory = informers
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._random = random
        self._slots = asyncio.Semaphore(workers)
        self._tasks: set[asyncio.Task[None]] = set()
        self._informers = {
            watch.resource: informers.informer(
                watch.resource,
                field_selector=watch.field_selector if isinstance(watch, Kind | Related) else "",
            )
            for watch in reconciler.WATCHES
        }
        self.caches = Caches(self._informers)
        self._executor = Executor(client, recorder, informers, self.name)

    async def run(self) -> None:
        """Work until cancelled; the factory must have been started."""
        for informer in self._informers.values():
            await informer.wait_synced()
        for watch in self._reconciler.WATCHES:
            if not isinstance(watch, Reads):
                self._informers[watch.resource].add_handler(self._handler(watch))
        try:
            await self._set_up()
            while True:
                await self._slots.acquire()
                key = await self.queue.get()
                task = asyncio.get_running_loop().create_task(self._work(key), name=f"{self.name} {key}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            self.queue.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _set_up(self) -> None:
        backoff = Backoff(self._random)
        while self._setup is not None:
            try:
                await self._setup(self.queue, self._factory, self._client)
                break
            except (ApiError, ConnectionLost) as error:
                log.debug("%s: set-up: %s", self.name, error)
                await asyncio.sleep(backoff.next_delay())

    def _handler(self, watch: Kind | Owned | Related) -> Callable[[Change], None]:
        changed = watch.changed

        def handle(change: Change) -> None:
            if change.type == "MODIFIED" and changed is not None and not changed(change.old or {}, change.new):
                return
            for key in self._keys(watch, change.new):
                self.queue.add(key)
            if change.old is not None and not isinstance(watch, Kind):
                for key in self._keys(watch, change.old):
                    self.queue.add(key)

        return handle

    def _keys(self, watch: Kind | Owned | Related, obj: Object) -> Iterable[str]:
        if isinstance(watch, Kind):
            return (key_of(obj),)
        if isinstance(watch, Related):
            return watch.keys(obj, self.caches)
        owner = controller_of(obj)
        if owner is None or owner.get("kind") != watch.by.kind:
            return ()
        namespace = obj["metadata"].get("namespace") if watch.by.namespaced else None
        return (f"{namespace}/{owner['name']}" if namespace else owner["name"],)

    async def _work(self, key: str) -> None:
        try:
            await self._reconcile(key)
        except (ApiError, ConnectionLost) as error:
            self._on_failure(key, error)
        except Exception:  # our bug: say so, and do not spin on it
            log.exception("%s %s failed; next try in %.1f s", self.name, key, self.queue.add_rate_limited(key))
        finally:
            self.queue.done(key)
            self._slots.release()

    async def _reconcile(self, key: str) -> None:
        observed = self._reconciler.observe(key, self.caches)
        if observed is not None and self._fetch is not None:
            observed = await self._fetch(observed, self._client)
        if observed is None:
            self.queue.forget(key)
            return
        plan = self._reconciler.plan(observed, self._clock.now())
        await self._executor.execute(plan)
        self.queue.forget(key)
        if plan.again_after is not None:
            self.queue.add_after(key, plan.again_after)

    def _on_failure(self, key: str, error: ApiError | ConnectionLost) -> None:
        if isinstance(error, ApiError) and error.has_cause("NamespaceTerminating"):
            self.queue.forget(key)  # it will not get better: the object goes too
            return
        delay = self.queue.add_rate_limited(key)
        # Somebody changed or deleted the object meanwhile: the cache will tell.
        expected = isinstance(error, ApiError) and error.code in (404, 409)
        loud = not expected and self.queue.failures(key) >= QUIET_FAILURES
        level = logging.WARNING if loud else logging.DEBUG
        log.log(level, "%s %s: %s; next try in %.2f s", self.name, key, error, delay)


class Executor:
    """Does what plans say, and waits until the caches show it."""

    def __init__(self, client: ApiClient, recorder: EventRecorder, informers: InformerFactory, component: str) -> None:
        self._client = client
        self._recorder = recorder
        self._component = component
        self._informers = informers

    async def execute(self, plan: Plan) -> None:
        """Do the actions, then the status, then the notes. Raises the first ApiError or ConnectionLost."""
        barrier = _Barrier(self._informers)
        try:
            await self._act(plan.actions, barrier)
        except ApiError as error:
            if plan.status_after_failure is not None and (status := plan.status_after_failure(error)) is not None:
                await self._do(status, barrier)
            await barrier.wait()
            raise
        if plan.status is not None:
            await self._do(plan.status, barrier)
        for note in plan.notes:
            self._note(note)
        await barrier.wait()

    async def _act(self, actions: tuple[Action, ...], barrier: _Barrier) -> None:
        done, width = 0, 1
        while done < len(actions):
            batch = actions[done : done + width]
            if len(batch) == 1:
                await self._do(batch[0], barrier)
            else:
                results = await asyncio.gather(*(self._do(action, barrier) for action in batch), return_exceptions=True)
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
            done, width = done + len(batch), min(width * 2, MAXIMUM_PARALLEL_ACTIONS)

    async def _do(self, action: Action, barrier: _Barrier) -> None:
        try:
            answer = await self._send(action)
        except ApiError as error:
            if _is_as_well(action, error):
                return
            if action.on_failure is not None:
                self._note(action.on_failure, str(error))
            raise
        barrier.add(action, answer)
        if action.on_success is not None:
            self._note(action.on_success)

    async def _send(self, action: Action) -> Object:
        client = self._client
        match action:
            case Create():
                return await client.create(
                    action.resource,
                    action.object,
                    action.namespace or None,
                    subresource=action.subresource,
                    name=action.name,
                )
            case Update():
                return await client.update(action.resource, action.object, subresource=action.subresource)
            case Patch():
                return await client.patch(
                    action.resource,
                    action.name,
                    action.patch,
                    action.namespace or None,
                    type=action.type,
                    subresource=action.subresource,
                )
            case Delete():
                metadata = action.object["metadata"]
                return await client.delete(
                    action.resource,
                    metadata["name"],
                    metadata.get("namespace"),
                    uid=metadata.get("uid"),
                    resource_version=metadata.get("resourceVersion") if action.at_version else None,
                    grace_period_seconds=action.grace_period_seconds,
                    propagation=action.propagation,
                )

    def _note(self, note: Note, error: str = "") -> None:
        message = note.message.replace("{error}", error) if error else note.message
        self._recorder.event(note.about, note.type, note.reason, message, self._component)


def _is_as_well(action: Action, error: ApiError) -> bool:
    """Whether the refusal means that what was wanted is so already."""
    match action:
        case Create():
            return action.exists_ok and error.reason == "AlreadyExists"
        case Delete():
            return error.code == 404 or (error.code == 409 and not action.at_version)
        case Patch():
            return action.missing_ok and error.code == 404
        case Update():
            return False


class _Barrier:
    """What the caches must show before the key is worked on again."""

    def __init__(self, informers: InformerFactory) -> None:
        self._informers = informers
        self._revisions: dict[Informer, int] = {}
        self._gone: list[tuple[Informer, str, str]] = []

    def add(self, action: Action, answer: Object) -> None:
        """Note the answer to a write."""
        informer = self._informers.find(action.resource)
        if informer is None:
            return
        if answer.get("kind") != "Status":
            self._revisions[informer] = max(revision_of(answer), self._revisions.get(informer, 0))
        elif isinstance(action, Delete):
            self._gone.append((informer, key_of(action.object), action.object["metadata"].get("uid", "")))

    async def wait(self) -> None:
        """Return when the caches show all of it, or after BARRIER_SECONDS."""
        for informer, revision in self._revisions.items():
            await informer.wait_for(partial(_has_seen, informer, revision), BARRIER_SECONDS)
        for informer, key, uid in self._gone:
            await informer.wait_for(partial(_is_gone, informer.cache, key, uid), BARRIER_SECONDS)


def _has_seen(informer: Informer, revision: int) -> bool:
    return informer.revision >= revision


def _is_gone(cache: Cache, key: str, uid: str) -> bool:
    found = cache.get(key)
    return found is None or (bool(uid) and found["metadata"].get("uid") != uid)
