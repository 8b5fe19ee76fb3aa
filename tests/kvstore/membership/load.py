"""A writer beside the changes, which knows what was acknowledged; and what a member holds of it."""

import threading

import grpc

from kvstore.pb import rpc_pb2 as rpc
from tests.kvstore.membership.servers import Servers


class Load:
    """One writer, until it is told to stop; it goes to the next endpoint where one fails."""

    def __init__(self, cluster: Servers, *names: str) -> None:
        self._endpoints = [cluster.endpoint(name) for name in names]
        self.acknowledged: list[bytes] = []
        self._reached = threading.Condition()
        self._has_ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        channels = [grpc.insecure_channel(endpoint) for endpoint in self._endpoints]
        while not self._has_ended:
            key = b"load/%06d" % number
            put = channels[number % len(channels)].unary_unary("/etcdserverpb.KV/Put")
            try:
                put(rpc.PutRequest(key=key, value=bytes(200)).SerializeToString(), timeout=3)
            except grpc.RpcError:
                pass
            else:
                with self._reached:
                    self.acknowledged.append(key)
                    self._reached.notify_all()
            number += 1
        for channel in channels:
            channel.close()

    def reach(self, more: int) -> None:
        """Wait for so many more acknowledged writes."""
        with self._reached:
            goal = len(self.acknowledged) + more
            assert self._reached.wait_for(lambda: len(self.acknowledged) >= goal, 60)

    def end(self) -> list[bytes]:
        self._has_ended = True
        self._thread.join()
        return self.acknowledged


def keys(cluster: Servers, at: str, *, serializable: bool = False) -> set[bytes]:
    with grpc.insecure_channel(cluster.endpoint(at)) as channel:
        request = rpc.RangeRequest(key=b"load/", range_end=b"load0", keys_only=True, serializable=serializable)
        answer = channel.unary_unary("/etcdserverpb.KV/Range")(request.SerializeToString(), timeout=10)
    return {pair.key for pair in rpc.RangeResponse.FromString(answer).kvs}
