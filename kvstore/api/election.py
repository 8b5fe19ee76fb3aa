"""v3election.Election: campaign, proclaim, leader, observe, resign.

A leader is the first in the queue of turns.py; its key's value is what it proclaims, and the key's create revision
(LeaderKey.rev) its fencing token. Proclaim and Resign do nothing for a leader that lost its key.
"""

from kvstore.api.decoding import decode
from kvstore.api.local_call import Routes, ask
from kvstore.api.turns import TXN, Contender, Deletions, prefix_end, prefix_of, still_created_at
from kvstore.mvcc import wire
from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Turn
from kvstore.pb.election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ResignRequest,
)
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    TxnRequest,
    TxnResponse,
)
from kvstore.rpc import Call, Code, Receiver, Streaming, Unary

__all__ = ["ElectionService"]

_RANGE = "/etcdserverpb.KV/Range"
_NO_LEADER = "election: no leader"
_NOT_LEADER = "election: not leader"
_LEADER_MISSING = '"leader" field must be provided'
MAX_PENDING_BYTES = 1 << 20  # of an observer that reads slowly: beyond it, it is shown the newest only


class ElectionService:
    """The handlers of v3electionpb.Election. `routes` are the member's own, asked in the client's name."""

    def __init__(self, routes: Routes, deletions: Deletions, state: StateMachine) -> None:
        self._routes = routes
        self._deletions = deletions
        self._observers: dict[_Observer, None] = {}
        state.on_turn(self._on_turn)

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {
            "/v3electionpb.Election/Campaign": Unary(self.campaign),
            "/v3electionpb.Election/Proclaim": Unary(self.proclaim),
            "/v3electionpb.Election/Leader": Unary(self.leader),
            "/v3electionpb.Election/Observe": Streaming(self.observe),
            "/v3electionpb.Election/Resign": Unary(self.resign),
        }

    def campaign(self, call: Call, message: bytes) -> None:
        """Answer Campaign when the caller leads."""
        request = decode(call, CampaignRequest, message)
        if request is None:
            return

        def won(contender: Contender, header: ResponseHeader) -> None:
            leader = LeaderKey(
                name=request.name, key=contender.key, rev=contender.create_revision, lease=contender.lease
            )
            call.reply(CampaignResponse(header=contender.queued, leader=leader).SerializeToString())  # etcd's too

        contender = Contender(self._routes, self._deletions, call, request.name, won, _NOT_LEADER)
        contender.start(request.lease, request.value)

    def proclaim(self, call: Call, message: bytes) -> None:
        """Answer Proclaim: the leader's value is another one now."""
        request = decode(call, ProclaimRequest, message)
        if request is None or not _has_leader(call, request):
            return
        leader = request.leader
        put = PutRequest(key=leader.key, value=request.value, lease=leader.lease)
        self._while_leading(call, leader, RequestOp(request_put=put), refusal=_NOT_LEADER)

    def resign(self, call: Call, message: bytes) -> None:
        """Answer Resign; one who does not lead any more has nothing to give up."""
        request = decode(call, ResignRequest, message)
        if request is None or not _has_leader(call, request):
            return
        delete = DeleteRangeRequest(key=request.leader.key)
        self._while_leading(call, request.leader, RequestOp(request_delete_range=delete), refusal="")

    def _while_leading(self, call: Call, leader: LeaderKey, operation: RequestOp, *, refusal: str) -> None:
        def answer(response: TxnResponse) -> None:
            if refusal and not response.succeeded:
                call.fail(Code.UNKNOWN, refusal)
            else:
                call.reply(wire.message_field(b"\x0a", response.header.SerializeToString()))

        request = TxnRequest(compare=[still_created_at(leader.key, leader.rev)], success=[operation])
        ask(self._routes, call, TXN, request, TxnResponse, answer)

    def leader(self, call: Call, message: bytes) -> None:
        """Answer Leader."""
        request = decode(call, LeaderRequest, message)
        if request is None:
            return

        def answer(response: RangeResponse) -> None:
            if response.kvs:
                call.reply(LeaderResponse(header=response.header, kv=response.kvs[0]).SerializeToString())
            else:
                call.fail(Code.UNKNOWN, _NO_LEADER)

        ask(self._routes, call, _RANGE, _first(request.name), RangeResponse, answer)

    def observe(self, call: Call) -> Receiver:
        """Begin a stream of leaders and of what they proclaim."""
        return _Observer(self._routes, self._observers, call)

    def _on_turn(self, turn: Turn) -> None:
        for observer in tuple(self._observers):
            observer.on_turn(turn)


def _has_leader(call: Call, request: ProclaimRequest | ResignRequest) -> bool:
    if not request.HasField("leader"):
        call.fail(Code.UNKNOWN, _LEADER_MISSING)
        return False
    return True


def _first(name: bytes, *, serializable: bool = False) -> RangeRequest:
    prefix = prefix_of(name)
    return RangeRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        limit=1,
        sort_order=RangeRequest.ASCEND,
        sort_target=RangeRequest.CREATE,
        serializable=serializable,
    )


class _Observer:
    """One stream of Observe: the newest leader is always shown, one that came and went within a turn may not be."""

    def __init__(self, routes: Routes, observers: dict["_Observer", None], call: Call) -> None:
        self._routes = routes
        self._observers = observers
        self._call = call
        self._name = b""
        self._is_started = False
        self._is_behind = False
        self._shown = KeyValue()
        self._header = ResponseHeader()

    def on_message(self, message: bytes) -> None:
        request = decode(self._call, LeaderRequest, message)
        if request is not None and not self._is_started:
            self._is_started = True
            self._name = request.name
            self._call.send_head()
            ask(self._routes, self._call, _RANGE, _first(self._name), RangeResponse, self._begin)

    def on_half_close(self) -> None:
        """The client listens."""

    def on_cancel(self) -> None:
        self._observers.pop(self, None)

    def _begin(self, response: RangeResponse) -> None:
        if self._call.is_open:
            self._observers[self] = None
            self._show(response)

    def on_turn(self, turn: Turn) -> None:
        """Show what the turn did to the leader."""
        prefix = prefix_of(self._name)
        changes = [change for _, changes in turn.revisions for change in changes if change.key.startswith(prefix)]
        if not changes and not turn.restored:
            return
        if self._call.pending_bytes > MAX_PENDING_BYTES:
            if not self._is_behind:
                self._is_behind = True
                self._call.on_drain(self._catch_up)
            return
        for change in changes:  # every value of the one who leads, in order
            if change.key == self._shown.key:
                if change.is_delete:
                    break
                value = KeyValue.FromString(change.key_value)
                if value.mod_revision > self._shown.mod_revision:
                    self._header.revision = value.mod_revision
                    self._send(value)
        self._look()

    def _catch_up(self) -> None:
        self._is_behind = False
        self._look()

    def _look(self) -> None:
        ask(self._routes, self._call, _RANGE, _first(self._name, serializable=True), RangeResponse, self._show)

    def _show(self, response: RangeResponse) -> None:
        self._header = response.header
        if response.kvs and response.kvs[0] != self._shown:
            self._send(response.kvs[0])

    def _send(self, leader: KeyValue) -> None:
        self._shown = leader
        self._call.send(LeaderResponse(header=self._header, kv=leader).SerializeToString())
