"""The objects that are measured with: ConfigMaps of 2 KB as a client sends them."""

import asyncio
import json
from typing import Any

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS

PAYLOAD_BYTES = 1750  # with what the server adds a stored object has 2 KB
WRITES_IN_FLIGHT = 32


def config_map(name: str, namespace: str) -> dict[str, Any]:
    """One of them."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"payload": "x" * PAYLOAD_BYTES},
    }


def lua_body() -> str:
    """The same as a Lua format string with one %s for the name; the namespace is the path's."""
    document = config_map("%s", "")
    del document["metadata"]["namespace"]
    return json.dumps(document, separators=(",", ":"))


async def create_many(client: ApiClient, namespace: str, count: int) -> None:
    """Create `count` of them through the API."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await client.create(CONFIG_MAPS, config_map(f"object-{number:06d}", namespace))

    await asyncio.gather(*(work() for _ in range(WRITES_IN_FLIGHT)))
