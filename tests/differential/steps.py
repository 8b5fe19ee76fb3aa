"""What a sequence is made of. Strategies that draw sequences: requests.py, scenes.py."""

from dataclasses import dataclass

from google.protobuf.message import Message

from kvstore.pb import rpc_pb2 as rpc

ROOT = "root"


@dataclass(frozen=True, slots=True)
class Ask:
    """One unary call; `request` is a message with relative revisions and members, or bytes that are no message.

    `user` is whose token it has: "" for none, one that does not exist for a token that is none.
    """

    method: str
    request: Message | bytes
    user: str = ""


@dataclass(frozen=True, slots=True)
class Json:
    """The same by the JSON gateway."""

    method: str
    request: Message
    user: str = ""


@dataclass(frozen=True, slots=True)
class Http:
    """Any request over HTTP: the probes, and what the gateway must refuse."""

    verb: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Watch:
    """Create a watch on stream number `stream`."""

    stream: int
    request: rpc.WatchCreateRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel a watch of a stream."""

    stream: int
    watch_id: int


@dataclass(frozen=True, slots=True)
class Peek:
    """Ask for a watch in the name of a user, on a stream of its own, and leave."""

    user: str
    key: bytes
    range_end: bytes


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Renew one lease, on a stream of its own."""

    lease: int


@dataclass(frozen=True, slots=True)
class BriefLease:
    """Grant with a TTL that etcd clamps, look, and revoke at once, so that it cannot expire meanwhile."""

    lease: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Contend:
    """Lock or campaign: answered when it is this one's turn, maybe after a later step."""

    method: str
    name: bytes
    lease: int
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Save:
    """Take a snapshot: that it is whole is looked at, not what is in it."""


Step = Ask | Json | Http | Watch | Cancel | Peek | KeepAlive | BriefLease | Contend | Save
