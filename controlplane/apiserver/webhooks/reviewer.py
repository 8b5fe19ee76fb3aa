"""Reviews that a program outside answers: TokenReview and SubjectAccessReview, as a kubeconfig file says where.

The file is kube-apiserver's: `clusters` names the program, `users` what this server shows it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from controlplane.apiserver.storage import codec
from controlplane.machinery.client import ApiClient
from controlplane.machinery.config import ClientConfig, ConfigError
from controlplane.machinery.http import ConnectionLost

Object = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")

TIMEOUT_SECONDS: Final = 10.0
TRIES: Final = 3
FIRST_PAUSE_SECONDS: Final = 0.2
REMEMBERED_ANSWERS: Final = 8192


class ReviewFailed(Exception):
    """No usable answer; the message says why."""


class Reviewer:
    """Asks one program. ValueError for a file that cannot be used."""

    def __init__(self, kubeconfig: Path, version: str) -> None:
        config = ClientConfig.from_kubeconfig(kubeconfig, user_agent="kube-apiserver")
        if not urlsplit(config.server).hostname:
            raise ConfigError(f"kubeconfig {kubeconfig}: {config.server!r} is no address")
        self.version = version
        self._target = "" if urlsplit(config.server).path.strip("/") else "/"
        self._config = replace(config, server=config.server.rstrip("/"))
        self._client: ApiClient | None = None

    async def ask(self, group: str, kind: str, spec: Object) -> Object:
        """The status of the answered review. Raises ReviewFailed after a few tries."""
        if self._client is None:
            self._client = ApiClient(self._config)
        review = {"apiVersion": f"{group}/{self.version}", "kind": kind, "metadata": {}, "spec": spec}
        pause, why = FIRST_PAUSE_SECONDS, ""
        for number in range(TRIES):
            if number:
                await asyncio.sleep(pause)
                pause *= 2
            try:
                answer = await self._client.raw("POST", self._target, review, timeout_seconds=TIMEOUT_SECONDS)
            except (ConnectionLost, OSError) as error:
                why = str(error)
                continue
            if answer.status in (200, 201):
                return _status(answer.body)
            why = f"the server responded with the status code {answer.status}"
            if answer.status < 500 and answer.status != 429:
                break
        raise ReviewFailed(why)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def _status(body: bytes) -> Object:
    try:
        document = codec.decode(body)
    except msgspec.DecodeError as error:
        raise ReviewFailed(f"the answer is no JSON: {error}") from None
    found = document.get("status") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise ReviewFailed("the answer has no status")
    return found


class Remembered(Generic[K, V]):
    """Answers with an end each; the least recently made go first. Times are those of the running loop."""

    def __init__(self, limit: int = REMEMBERED_ANSWERS) -> None:
        self._limit = limit
        self._found: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The answer while it lasts."""
        found = self._found.get(key)
        if found is None or found[0] <= asyncio.get_running_loop().time():
            return None
        return found[1]

    def put(self, key: K, value: V, seconds: float) -> None:
        """Keep it for so long; not at all for 0."""
        if seconds <= 0:
            return
        self._found[key] = (asyncio.get_running_loop().time() + seconds, value)
        self._found.move_to_end(key)
        if len(self._found) > self._limit:
            self._found.popitem(last=False)
