"""Cluster: the list of members, and its changes.  Their headers carry no revision, as etcd's do not."""

from collections.abc import Iterable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import Node
from kvstore.member.membership import Change, ChangeKind
from kvstore.member.ports import Failed, MemberInfo, Result
from kvstore.mvcc.errors import Failure
from kvstore.pb.rpc_pb2 import (
    Member,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
)
from kvstore.rpc import Call, Code, Streaming, Unary

__all__ = ["ClusterService"]

_PATH = "/etcdserverpb.Cluster/"
_SCHEMES = ("http", "https", "unix", "unixs")
BAD_URLS = Failure(Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")


class _Answer(Protocol):
    def SerializeToString(self) -> bytes: ...


class _AnswerType(Protocol):
    def __call__(self, *, members: Sequence[Member]) -> _Answer: ...


class ClusterService:
    """The handlers of etcdserverpb.Cluster."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {
            _PATH + "MemberList": Unary(self.member_list),
            _PATH + "MemberAdd": Unary(self.member_add),
            _PATH + "MemberRemove": Unary(self.member_remove),
            _PATH + "MemberUpdate": Unary(self.member_update),
            _PATH + "MemberPromote": Unary(self.member_promote),
        }

    def member_list(self, call: Call, message: bytes) -> None:
        """Answer MemberList."""
        request = decode(call, MemberListRequest, message)
        if request is None or not self._node.admit(call):
            return
        if request.linearizable:
            self._node.read(call, lambda: self._list(call))
        else:
            self._list(call)

    def _list(self, call: Call) -> None:
        members = _shown(self._node.member.status().members)
        call.reply(self._node.header(0) + MemberListResponse(members=members).SerializeToString())

    def member_add(self, call: Call, message: bytes) -> None:
        """Answer MemberAdd: the new member, whose name is not known until it starts, and all members."""
        request = decode(call, MemberAddRequest, message)
        if request is None or not self._node.admit(call):
            return
        urls = peer_urls(request.peerURLs)
        if urls is None:
            errors.refuse(call, BAD_URLS)
            return
        change = Change(ChangeKind.ADD, 0, urls, request.isLearner, self._node.limits.max_learners)

        def answer(members: list[Member]) -> _Answer:
            added = next((one for one in members if set(one.peerURLs).intersection(urls)), None)
            return MemberAddResponse(member=added, members=members)

        self._node.member.change_membership(change, lambda result: self._finish(call, result, answer))

    def member_remove(self, call: Call, message: bytes) -> None:
        """Answer MemberRemove."""
        request = decode(call, MemberRemoveRequest, message)
        if request is not None and self._node.admit(call):
            self._change(call, Change(ChangeKind.REMOVE, request.ID), MemberRemoveResponse)

    def member_update(self, call: Call, message: bytes) -> None:
        """Answer MemberUpdate: other peer URLs."""
        request = decode(call, MemberUpdateRequest, message)
        if request is None or not self._node.admit(call):
            return
        urls = peer_urls(request.peerURLs)
        if urls is None:
            errors.refuse(call, BAD_URLS)
        else:
            self._change(call, Change(ChangeKind.UPDATE, request.ID, urls), MemberUpdateResponse)

    def member_promote(self, call: Call, message: bytes) -> None:
        """Answer MemberPromote: a learner that has caught up becomes a voter."""
        request = decode(call, MemberPromoteRequest, message)
        if request is not None and self._node.admit(call):
            self._change(call, Change(ChangeKind.PROMOTE, request.ID), MemberPromoteResponse)

    def _change(self, call: Call, change: Change, response: _AnswerType) -> None:
        self._node.member.change_membership(
            change, lambda result: self._finish(call, result, lambda members: response(members=members))
        )

    def _finish(self, call: Call, result: Result, answer: "_MakeAnswer") -> None:
        if isinstance(result, Failed):
            call.fail(result.code, result.text)
            return
        assert isinstance(result.value, tuple)
        call.reply(self._node.header(0) + answer(_shown(result.value)).SerializeToString())


class _MakeAnswer(Protocol):
    def __call__(self, members: list[Member], /) -> _Answer: ...


def peer_urls(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Peer URLs in order, None where there are none or one is not scheme://host:port, as etcd judges them."""
    urls = sorted(text.strip() for text in texts)
    return tuple(urls) if urls and all(map(_is_peer_url, urls)) else None


def _is_peer_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_port = parts.port is not None or parts.scheme.startswith("unix")
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and bool(parts.netloc) and has_port and not parts.path


def _shown(members: Iterable[MemberInfo]) -> list[Member]:
    return [
        Member(
            ID=member.member_id,
            name=member.name,
            peerURLs=member.peer_urls,
            clientURLs=member.client_urls,
            isLearner=member.is_learner,
        )
        for member in members
    ]
