"""One server: performs steps and normalises what comes back."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError
from tests.differential.revisions import to_absolute, to_relative
from tests.differential.steps import Ask, BriefLease, Cancel, KeepAlive, Step, Watch
from tests.differential.streams import FENCE_ID, FENCE_KEY, Stream

TIMEOUT_SECONDS = 20.0
EVERYTHING = rpc.DeleteRangeRequest(key=b"\0", range_end=b"\0")
MALFORMED = "error unmarshalling request"
Answer = Any  # a normalised message, or (code, text)


def response_type(method: str) -> type[Message]:
    """Return the class of a method's answer; rpc.proto names every one after its method."""
    name = method.split("/")[1]
    name = {"Compact": "Compaction"}.get(name, name)
    found: type[Message] = getattr(rpc, name + "Response", rpc.StatusResponse)
    return found


class Session:
    """A connection to one server, and what a sequence has on it. `name` is that of the server's kind; `tell` is called when
    something has come by a watch.
    """

    def __init__(self, name: str, endpoint: str, tell: Callable[[], None]) -> None:
        self.name = name
        self.base = 0
        self.compacted = 0
        self._channel = Channel(endpoint)
        self._streams: dict[int, Stream] = {}
        self._tell = tell
        self._starts: dict[int, int] = {}  # the latest start of a watch, by stream

    async def close(self) -> None:
        await self.end_streams()
        await self._channel.close()

    async def end_streams(self) -> None:
        for stream in self._streams.values():
            await stream.close()
        self._streams.clear()
        self._starts.clear()

    async def call(self, method: str, request: Message | bytes) -> Any:
        """Return the raw answer; raises RpcError."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        answer = await self._channel.unary(f"/etcdserverpb.{method}", data, timeout=TIMEOUT_SECONDS)
        return response_type(method).FromString(answer)

    async def reset(self) -> None:
        """Empty the server and begin another sequence; its history so far is compacted."""
        await self.end_streams()
        for lease in (await self.call("Lease/LeaseLeases", rpc.LeaseLeasesRequest())).leases:
            await self.call("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease.ID))
        await self.call("KV/DeleteRange", EVERYTHING)
        put = await self.call("KV/Put", rpc.PutRequest(key=FENCE_KEY))
        self.base = self.compacted = put.header.revision
        await self.call("KV/Compact", rpc.CompactionRequest(revision=self.base))

    async def perform(self, step: Step) -> Answer:
        """Return what the server answered to one step, in comparable form."""
        if isinstance(step, Ask):
            return await self._ask(step)
        if isinstance(step, Watch):
            return await self._watch(step)
        if isinstance(step, Cancel):
            return await self._cancel(step)
        if isinstance(step, KeepAlive):
            return await self._keep_alive(step.lease)
        return await self._brief_lease(step)

    # Unary ---------------------------------------------------------------------------------------------------------

    async def _ask(self, step: Ask) -> Answer:
        request = step.request
        if isinstance(request, Message):
            request = type(request).FromString(request.SerializeToString())
            to_absolute(request, self.base)
        try:
            answer = await self.call(step.method, request)
        except RpcError as error:
            text = MALFORMED if MALFORMED in error.text else error.text  # what follows is the decoder's own
            return int(error.code), text
        if isinstance(request, rpc.CompactionRequest):
            self.compacted = request.revision
        return self._comparable(answer)

    def _comparable(self, answer: Any) -> Answer:
        """Take out what differs between any two servers, and what is promised in no order."""
        known = answer.DESCRIPTOR.name
        if known == "StatusResponse":
            assert answer.version and answer.raftTerm and answer.raftIndex >= answer.raftAppliedIndex and answer.dbSize
            is_leader = int(answer.leader == answer.header.member_id)
            answer = rpc.StatusResponse(
                header=answer.header, errors=answer.errors, isLearner=answer.isLearner, leader=is_leader
            )
        elif known == "MemberListResponse":
            for one in answer.members:
                one.ID = int(answer.header.member_id == one.ID)
                one.peerURLs[:] = [url.rpartition(":")[0] for url in one.peerURLs]
                one.clientURLs[:] = [url.rpartition(":")[0] for url in one.clientURLs]
        elif known in ("HashKVResponse", "HashResponse"):
            answer.hash = 1  # members of one cluster agree on it, different programs need not
        elif known == "LeaseLeasesResponse":
            ids = sorted(lease.ID for lease in answer.leases)
            del answer.leases[:]
            answer.leases.extend(rpc.LeaseStatus(ID=_shown(lease)) for lease in ids)
        elif known == "LeaseTimeToLiveResponse":
            if answer.TTL > 0:
                assert answer.grantedTTL - 30 <= answer.TTL <= answer.grantedTTL
                answer.TTL = 1
            answer.keys[:] = sorted(answer.keys)
        elif known == "LeaseGrantResponse":
            answer.ID = _shown(answer.ID)
        if answer.HasField("header"):
            header = answer.header
            assert answer.DESCRIPTOR.name in NO_IDENTITY or (
                header.cluster_id and header.member_id and header.raft_term
            )
            header.cluster_id = header.member_id = header.raft_term = 0
        to_relative(answer, self.base)
        return answer

    # Leases --------------------------------------------------------------------------------------------------------

    async def _keep_alive(self, lease: int) -> Answer:
        stream = self._channel.stream("/etcdserverpb.Lease/LeaseKeepAlive")
        stream.send(rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString())
        stream.half_close()
        answers = [rpc.LeaseKeepAliveResponse.FromString(message) async for message in stream]
        return [self._comparable(answer) for answer in answers]

    async def _brief_lease(self, step: BriefLease) -> Answer:
        granted = await self._ask(Ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=step.lease, TTL=step.ttl)))
        revoked = await self._ask(Ask("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=step.lease)))
        return [granted, revoked]

    # Watches -------------------------------------------------------------------------------------------------------

    async def _stream(self, number: int) -> Stream:
        """Open a stream with a watch on the fence, by which the end of a sequence is known to have come through."""
        if number not in self._streams:
            stream = self._streams[number] = Stream(self._channel, self._tell)
            create = rpc.WatchCreateRequest(key=FENCE_KEY, watch_id=FENCE_ID)
            stream.send(rpc.WatchRequest(create_request=create))
            await stream.next_control(0)
        return self._streams[number]

    async def _watch(self, step: Watch) -> Answer:
        stream = await self._stream(step.stream)
        request = rpc.WatchCreateRequest.FromString(step.request.SerializeToString())
        to_absolute(request, self.base)
        if request.start_revision == self.compacted:
            request.start_revision += (
                1  # whether a deletion at that very revision is still seen is left to chance by etcd
            )
        self._starts[step.stream] = max(request.start_revision, self._starts.get(step.stream, 0))
        count = len(stream.control)
        stream.send(rpc.WatchRequest(create_request=request))
        answers = [await stream.next_control(count)]
        if not answers[0].canceled and request.start_revision < self.compacted and request.start_revision:
            answers.append(await stream.next_control(count + 1))
        return [self._copy(answer) for answer in answers]

    async def _cancel(self, step: Cancel) -> Answer:
        stream = await self._stream(step.stream)
        count = len(stream.control)
        is_known = step.watch_id in stream.live
        stream.send(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=step.watch_id)))
        return self._copy(await stream.next_control(count)) if is_known else "etcd is silent"

    def _copy(self, response: rpc.WatchResponse) -> Answer:
        return self._comparable(rpc.WatchResponse.FromString(response.SerializeToString()))

    async def fence(self) -> int:
        """Return the newest revision, when everything that was written before has had time to come through."""
        put = await self.call("KV/Put", rpc.PutRequest(key=FENCE_KEY))
        for stream in self._streams.values():
            await stream.fence(put.header.revision)
        return int(put.header.revision)

    def events(self) -> dict[tuple[int, int, int], list[Any]]:
        """Return the events by stream and watch so far; a revision that is split over responses is an error."""
        found: dict[tuple[int, int, int], list[Any]] = {}
        for number, stream in self._streams.items():
            for (watch, use), batches in stream.batches.items():
                last = 0
                events: list[Any] = []
                for batch in batches:
                    assert batch.events or batch.header.revision, "a message that says nothing"
                    for event in self._copy(batch).events:
                        events.append(event)
                    if batch.events:
                        assert batch.events[0].kv.mod_revision > last, "a revision split, repeated or out of order"
                        last = batch.events[-1].kv.mod_revision
                        assert batch.header.revision >= last
                if events and watch != FENCE_ID:
                    found[number, watch, use] = events
        return found

    async def progress(self, newest: int) -> dict[int, Any]:
        """Ask the streams how far they are, when all has come through.

        Since 3.6.2 there is no answer while a watch waits for a revision of the future; earlier ones answer.
        """
        answers = {}
        for number, stream in self._streams.items():
            if self._starts.get(number, 0) > newest:
                continue
            count = len(stream.control)
            stream.send(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
            answers[number] = self._copy(await stream.next_control(count))
        return answers


NO_IDENTITY = {"TxnResponse", "HashKVResponse"}
_RANDOM_FROM = 1 << 20


def _shown(lease: int) -> int:
    """Ids that a server has drawn are all the same."""
    return lease if lease < _RANDOM_FROM else _RANDOM_FROM
