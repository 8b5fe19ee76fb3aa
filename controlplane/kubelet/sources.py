"""ConfigMaps and Secrets that pods of this node refer to: followed one by one while a volume shows them, else read once.

A node may not list all Secrets, so each object has its own watch (a field selector on its name), shared by all pods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from controlplane.machinery.client import ApiClient
from controlplane.machinery.informer import Informer
from controlplane.objects.kinds import CONFIG_MAPS, SECRETS, Resource
from controlplane.objects.status import ApiError

RESOURCES: dict[str, Resource] = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}
SYNC_TIMEOUT_SECONDS = 5.0

Reference = tuple[str, str]  # ("ConfigMap" | "Secret", name)
Object = dict[str, Any]


class _Followed:
    """One object, its informer and who wants to hear of it."""

    def __init__(self, informer: Informer, task: asyncio.Task[None]) -> None:
        self.informer = informer
        self.task = task
        self.listeners: dict[str, Callable[[], None]] = {}

    def tell(self) -> None:
        for listener in list(self.listeners.values()):
            listener()


class ObjectSource:
    """Shared by all pods of a node."""

    def __init__(self, client: ApiClient, random: Random) -> None:
        self._client = client
        self._random = random
        self._followed: dict[tuple[str, Reference], _Followed] = {}

    def follow(self, owner: str, namespace: str, references: Iterable[Reference], changed: Callable[[], None]) -> None:
        """Follow these for `owner` (a pod's uid) until `release`; `changed` is called when one of them is another."""
        for reference in references:
            key = (namespace, reference)
            followed = self._followed.get(key)
            if followed is None:
                followed = self._followed[key] = self._begin(namespace, reference)
            followed.listeners[owner] = changed

    def _begin(self, namespace: str, reference: Reference) -> _Followed:
        kind, name = reference
        informer = Informer(
            self._client,
            RESOURCES[kind],
            random=self._random,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
        )
        task = asyncio.get_running_loop().create_task(informer.run())
        followed = _Followed(informer, task)
        informer.add_handler(lambda _change: followed.tell())
        return followed

    def release(self, owner: str) -> None:
        """`owner` wants nothing any more."""
        for key, followed in list(self._followed.items()):
            if followed.listeners.pop(owner, None) is not None and not followed.listeners:
                followed.task.cancel()
                del self._followed[key]

    async def read(self, namespace: str, reference: Reference) -> Object | None:
        """The object as it is now; None when there is none. ApiError or ConnectionLost when it cannot be read."""
        kind, name = reference
        followed = self._followed.get((namespace, reference))
        if followed is not None:
            async with asyncio.timeout(SYNC_TIMEOUT_SECONDS):
                await followed.informer.wait_synced()
            return followed.informer.cache.get(f"{namespace}/{name}")
        try:
            return await self._client.get(RESOURCES[kind], name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def read_all(self, namespace: str, references: Iterable[Reference]) -> dict[Reference, Object | None]:
        """`read` for each."""
        return {reference: await self.read(namespace, reference) for reference in references}

    async def close(self) -> None:
        """Follow nothing any more."""
        tasks = [followed.task for followed in self._followed.values()]
        self._followed.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
