"""Read a large range again and again: `python -m controlplane.launcher.bench.reader ENDPOINT KEYS`, until it is killed."""

import asyncio
import sys

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel


async def read(endpoint: str, keys: int) -> None:
    """Say `reading` after the first range, and go on for ever."""
    channel = Channel(endpoint)
    request = rpc.RangeRequest(key=b"load/", range_end=b"load0", limit=keys).SerializeToString()
    while True:
        answer = await channel.unary("/etcdserverpb.KV/Range", request)
        print("reading", len(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(read(sys.argv[1], int(sys.argv[2])))
