"""Holders of leases: grant, attach a key, keep alive for a while, then let it end, or revoke it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.leasing import LeaseRecord, Renewal
from chaos.sim.calls import Caller
from chaos.sim.streams import ClientStream
from kvstore.pb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    PutRequest,
)
from kvstore.rpc import Code

if TYPE_CHECKING:
    from chaos.sim.host import Host
    from chaos.sim.store import StoreWorld

__all__ = ["Holder"]

KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
TIMEOUT_SECONDS = 8.0
PAUSE_SECONDS = 1.0
MAX_RENEWALS = 12


class Holder:
    """One client: one lease after another."""

    def __init__(self, world: StoreWorld, number: int) -> None:
        self._world = world
        self._name = world.holder_names[number]
        self._number = number
        self._random = world.random_for(self._name)
        self._caller = Caller(world, self._name)
        self._count = self._renewals_left = 0
        self._record = LeaseRecord(0, "")
        self._stream: ClientStream | None = None
        self._sent: list[float] = []  # of the renewals that wait for their answer, in order
        self._is_stopped = False

    def start(self) -> None:
        """Begin, after a moment."""
        self._world.heap.after(self._random.random(), self._grant)

    def stop(self) -> None:
        """Take no other lease; keep none alive."""
        self._is_stopped = True
        if self._stream is not None:
            self._stream.break_off()

    def _host(self) -> Host:
        return self._random.choice(self._world.hosts)

    def _again(self) -> None:
        self._world.heap.after(self._random.expovariate(1 / PAUSE_SECONDS), self._grant)

    def _grant(self) -> None:
        if self._is_stopped:
            return
        self._count += 1
        lease = self._number * 1_000_000 + self._count
        sent = self._world.heap.now
        self._record = LeaseRecord(lease, f"lease/{lease}")

        def granted(code: int, text: str, answer: bytes) -> None:
            if code != Code.OK:
                self._again()
                return
            ttl = LeaseGrantResponse.FromString(answer).TTL
            self._record.renewals.append(Renewal(sent, self._world.heap.now, ttl))
            self._world.leases[self._record.key] = self._record
            self._attach(ttl)

        request = LeaseGrantRequest(ID=lease, TTL=self._random.randrange(1, 6))
        self._caller.call(self._host(), "/etcdserverpb.Lease/LeaseGrant", request.SerializeToString(), TIMEOUT_SECONDS, granted)

    def _attach(self, ttl_seconds: int) -> None:
        def attached(code: int, text: str, answer: bytes) -> None:
            self._record.is_attached = code == Code.OK
            if code != Code.OK:
                self._again()
                return
            self._renewals_left = self._random.randrange(MAX_RENEWALS)
            self._renew(ttl_seconds)

        request = PutRequest(key=self._record.key.encode(), value=b"held", lease=self._record.lease)
        self._caller.call(self._host(), "/etcdserverpb.KV/Put", request.SerializeToString(), TIMEOUT_SECONDS, attached)

    def _renew(self, ttl_seconds: int) -> None:
        """Keep it alive, or let it go; some go to a member that has just been away."""
        if self._is_stopped:
            return
        if not self._renewals_left:
            self._let_go()
            return
        self._renewals_left -= 1
        if self._stream is None or not self._stream.is_open or self._random.random() < 0.2:
            self._open()
        assert self._stream is not None
        self._sent.append(self._world.heap.now)
        self._stream.send(LeaseKeepAliveRequest(ID=self._record.lease).SerializeToString())
        self._world.heap.after(ttl_seconds * self._random.uniform(0.2, 0.9), lambda: self._renew(ttl_seconds))

    def _open(self) -> None:
        if self._stream is not None:
            self._stream.break_off()
        self._sent = []
        record, sent = self._record, self._sent
        self._stream = ClientStream(
            self._world, self._name, self._host(), KEEP_ALIVE,
            on_message=lambda message: self._on_renewed(record, sent, message),
            on_broken=lambda: None, read_seconds=lambda: 0.0,
        )

    def _on_renewed(self, record: LeaseRecord, sent: list[float], message: bytes) -> None:
        ttl = LeaseKeepAliveResponse.FromString(message).TTL
        record.renewals.append(Renewal(sent.pop(0), self._world.heap.now, ttl))
        self._world.note(self._name, "renewed", f"{record.lease} {ttl}")

    def _let_go(self) -> None:
        if self._stream is not None:
            self._stream.break_off()
        if self._random.random() < 0.3:
            self._record.revoke_sent = self._world.heap.now
            request = LeaseRevokeRequest(ID=self._record.lease).SerializeToString()
            self._caller.call(self._host(), "/etcdserverpb.Lease/LeaseRevoke", request, TIMEOUT_SECONDS, self._world.ignore)
        self._again()
