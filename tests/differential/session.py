"""One server: performs steps and normalises what comes back."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError
from tests.differential import steps
from tests.differential.comparable import comparable
from tests.differential.contest import Contest
from tests.differential.door import Door
from tests.differential.http import Http, parsed, shape
from tests.differential.methods import JSON_PATHS, METHODS, method_of
from tests.differential.names import Names
from tests.differential.revisions import to_absolute
from tests.differential.scenes import FIRST_ADDRESS
from tests.differential.steps import ROOT, Ask, Step
from tests.differential.streams import FENCE_ID, FENCE_KEY, Stream

TIMEOUT_SECONDS = 20.0
EVERYTHING = rpc.DeleteRangeRequest(key=b"\0", range_end=b"\0")
MALFORMED = "error unmarshalling request"
Answer = Any  # a normalised message, or (code, text)
MESSY = ("Maintenance/Alarm", "Maintenance/Downgrade")  # what a reset has to take back


class Session:
    """A connection to one server, and what a sequence has on it. `name` is that of the server's kind; `tell` is called when
    something has come by a watch.
    """

    def __init__(self, name: str, endpoint: str, tell: Callable[[], None]) -> None:
        self.name = name
        self.base = 0
        self.compacted = 0
        self._channel = Channel(endpoint)
        self._http = Http(endpoint)
        self._streams: dict[int, Stream] = {}
        self._tell = tell
        self._starts: dict[int, int] = {}  # the latest start of a watch, by stream
        self._door = Door(self._call)
        self._contest = Contest(lambda request: self.call("KV/Range", request))
        self._names = Names({}, 0)
        self._mess: set[str] = set()

    async def close(self) -> None:
        await self.end_streams()
        await self._http.close()
        await self._channel.close()

    async def end_streams(self) -> None:
        for stream in self._streams.values():
            await stream.close()
        self._streams.clear()
        self._starts.clear()

    async def _call(self, name: str, request: Message | bytes, token: str) -> Any:
        method = method_of(name)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        metadata = {"token": token} if token else None
        answer = await self._channel.unary(method.path, data, timeout=TIMEOUT_SECONDS, metadata=metadata)
        return method.response.FromString(answer)

    async def call(self, name: str, request: Message) -> Any:
        """Ask as one who may do everything; return the raw answer. Raises RpcError."""
        return await self._call(name, request, await self._door.token(ROOT))

    # ---- between sequences ----------------------------------------------------------------------------------------

    async def reset(self) -> None:
        """Empty the server and begin another sequence; its history so far is compacted."""
        await self.end_streams()
        await self._door.open()
        await self._clean_up()
        for lease in (await self.call("Lease/LeaseLeases", rpc.LeaseLeasesRequest())).leases:
            await self.call("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease.ID))
        await self.call("KV/DeleteRange", EVERYTHING)
        await self._contest.end()
        put = await self.call("KV/Put", rpc.PutRequest(key=FENCE_KEY))
        self.base = self.compacted = put.header.revision
        await self.call("KV/Compact", rpc.CompactionRequest(revision=self.base))
        if not self._names.members:
            await self._look_around()

    async def _look_around(self) -> None:
        """Add the learner that scenes have, and see who is who."""
        while not (await self.call("Cluster/MemberList", rpc.MemberListRequest())).members[0].name:
            pass  # a member serves before it has made its name known
        request = rpc.MemberAddRequest(peerURLs=[f"{FIRST_ADDRESS}1"], isLearner=True)
        added = await self.call("Cluster/MemberAdd", request)
        version = (await self.call("Maintenance/Status", rpc.StatusRequest())).version
        self._names = Names({added.header.member_id: 1, added.member.ID: 2}, int(version.split(".")[1]))

    async def _clean_up(self) -> None:
        if "Maintenance/Alarm" in self._mess:
            for one in (await self.call("Maintenance/Alarm", rpc.AlarmRequest())).alarms:
                request = rpc.AlarmRequest(action="DEACTIVATE", memberID=one.memberID, alarm=one.alarm)
                await self.call("Maintenance/Alarm", request)
        if "Maintenance/Downgrade" in self._mess:
            await self._perform_ask(Ask("Maintenance/Downgrade", rpc.DowngradeRequest(action="CANCEL")))
        self._mess.clear()

    # ---- steps ----------------------------------------------------------------------------------------------------

    async def perform(self, step: Step) -> Answer:
        """Return what the server answered to one step, in comparable form, and to those who waited for it."""
        perform: Callable[[Any], Awaitable[Answer]] = self._PERFORM[type(step)].__get__(self)
        answer = await perform(step)
        return [answer, *await self._contest.answers()] if self._contest else answer

    def _request(self, step: steps.Ask | steps.Json) -> Message | bytes:
        if isinstance(step.request, bytes):
            return step.request
        request = type(step.request).FromString(step.request.SerializeToString())
        to_absolute(request, self.base)
        self._names.to_server(request)
        return request

    async def _perform_ask(self, step: Ask) -> Answer:
        request, token = self._request(step), await self._door.token(step.user)
        try:
            answer = await self._call(step.method, request, token)
            await self._settle(step.method)
        except RpcError as error:
            await self._settle(step.method)
            text = MALFORMED if MALFORMED in error.text else error.text  # what follows is the decoder's own
            self._note(step.method, request, is_done=False)
            return int(error.code), text
        self._note(step.method, request, is_done=True)
        return self._comparable(answer)

    async def _settle(self, method: str) -> None:
        """Let a change of members be over: etcd drops the next one, and lets its client wait for seven seconds, when it
        comes before the log has ticked the former one off; a read of the quorum comes after that.
        """
        if method.startswith("Cluster/") and method != "Cluster/MemberList":
            await self.call("KV/Range", rpc.RangeRequest(key=FENCE_KEY))

    def _note(self, method: str, request: Message | bytes, *, is_done: bool) -> None:
        self._door.asked(method, is_done)
        if method in MESSY:
            self._mess.add(method)
        if isinstance(request, rpc.CompactionRequest) and is_done:
            self.compacted = request.revision

    def _comparable(self, answer: Any) -> Answer:
        self._names.to_sequence(answer)
        if isinstance(answer, rpc.AuthStatusResponse):
            answer.authRevision -= self._door.revision
        return comparable(answer, self.base, self._names.members)

    async def _perform_json(self, step: steps.Json) -> Answer:
        request, token = self._request(step), await self._door.token(step.user)
        assert isinstance(request, Message)
        body = json_format.MessageToJson(request, preserving_proto_field_name=True).encode()
        headers = {"authorization": token} if token else {}
        status, text = await self._http.ask("POST", JSON_PATHS[step.method], body, headers)
        self._note(step.method, request, is_done=status == 200)
        if status != 200:
            return status, parsed(text)
        answer = json_format.Parse(text, METHODS[step.method].response())
        return self._comparable(answer), shape(parsed(text))

    async def _perform_http(self, step: steps.Http) -> Answer:
        status, text = await self._http.ask(step.verb, step.path, step.body)
        return status, parsed(text)

    async def _perform_save(self, step: steps.Save) -> Answer:
        stream = self._channel.stream(
            "/etcdserverpb.Maintenance/Snapshot", {"token": token} if (token := await self._door.token(ROOT)) else None
        )
        stream.send(rpc.SnapshotRequest().SerializeToString())
        stream.half_close()
        parts = [rpc.SnapshotResponse.FromString(message) async for message in stream]
        *data, digest = [part.blob for part in parts]
        assert hashlib.sha256(b"".join(data)).digest() == digest
        left = [part.remaining_bytes for part in parts]
        assert left == sorted(left, reverse=True) and left[-1] == 0
        assert sum(map(len, data)) % 512 == 0, "a bbolt file"
        return "a snapshot"

    async def _perform_contend(self, step: steps.Contend) -> Answer:
        request = method_of(step.method).request(name=step.name, lease=step.lease)
        if step.method == "Election/Campaign":
            request.value = step.value
        self._contest.enter(step.name, step.lease, self._perform_ask(Ask(step.method, request)))
        return "asked"

    # ---- leases ---------------------------------------------------------------------------------------------------

    async def _perform_keep_alive(self, step: steps.KeepAlive) -> Answer:
        stream = self._channel.stream("/etcdserverpb.Lease/LeaseKeepAlive")
        stream.send(rpc.LeaseKeepAliveRequest(ID=step.lease).SerializeToString())
        stream.half_close()
        answers = [rpc.LeaseKeepAliveResponse.FromString(message) async for message in stream]
        return [self._comparable(answer) for answer in answers]

    async def _perform_brief_lease(self, step: steps.BriefLease) -> Answer:
        granted = await self._perform_ask(Ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=step.lease, TTL=step.ttl)))
        revoked = await self._perform_ask(Ask("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=step.lease)))
        return [granted, revoked]

    # ---- watches --------------------------------------------------------------------------------------------------

    async def _stream(self, number: int) -> Stream:
        """Open a stream with a watch on the fence, by which the end of a sequence is known to have come through."""
        if number not in self._streams:
            stream = self._streams[number] = Stream(self._channel, self._tell)
            create = rpc.WatchCreateRequest(key=FENCE_KEY, watch_id=FENCE_ID)
            stream.send(rpc.WatchRequest(create_request=create))
            await stream.next_control(0)
        return self._streams[number]

    async def _perform_watch(self, step: steps.Watch) -> Answer:
        stream = await self._stream(step.stream)
        request = rpc.WatchCreateRequest.FromString(step.request.SerializeToString())
        to_absolute(request, self.base)
        if request.start_revision == self.compacted:  # whether a deletion at that very revision is still seen
            request.start_revision += 1  # is left to chance by etcd
        self._starts[step.stream] = max(request.start_revision, self._starts.get(step.stream, 0))
        count = len(stream.control)
        stream.send(rpc.WatchRequest(create_request=request))
        answers = [await stream.next_control(count)]
        if not answers[0].canceled and request.start_revision < self.compacted and request.start_revision:
            answers.append(await stream.next_control(count + 1))
            stream.spent.add(answers[0].watch_id)
        return [self._copy(answer) for answer in answers]

    async def _perform_cancel(self, step: steps.Cancel) -> Answer:
        stream = await self._stream(step.stream)
        count = len(stream.control)
        is_known = step.watch_id in stream.live or step.watch_id in stream.spent
        stream.send(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=step.watch_id)))
        return self._copy(await stream.next_control(count)) if is_known else "etcd is silent"

    async def _perform_peek(self, step: steps.Peek) -> Answer:
        token = await self._door.token(step.user)
        stream = Stream(self._channel, self._tell, {"token": token} if token else None)
        create = rpc.WatchCreateRequest(key=step.key, range_end=step.range_end)
        stream.send(rpc.WatchRequest(create_request=create))
        try:
            return self._copy(await stream.next_control(0))
        finally:
            await stream.close()

    _PERFORM: dict[type, Any] = {
        steps.Ask: _perform_ask,
        steps.Json: _perform_json,
        steps.Http: _perform_http,
        steps.Save: _perform_save,
        steps.Contend: _perform_contend,
        steps.KeepAlive: _perform_keep_alive,
        steps.BriefLease: _perform_brief_lease,
        steps.Watch: _perform_watch,
        steps.Cancel: _perform_cancel,
        steps.Peek: _perform_peek,
    }

    def _copy(self, response: rpc.WatchResponse) -> Answer:
        return self._comparable(rpc.WatchResponse.FromString(response.SerializeToString()))

    # ---- the end of a sequence ------------------------------------------------------------------------------------

    async def fence(self) -> int:
        """Return the newest revision, when everything that was written before has had time to come through."""
        await self._door.open()
        await self._clean_up()
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
