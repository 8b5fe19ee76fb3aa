"""etcd's services: translate, validate, delegate.  One file per service; services.py is their registry and order.

    kv.py watch.py lease.py cluster.py maintenance.py auth.py     one service each; what is not here answers Unimplemented
    snapshot.py    Maintenance.Snapshot: etcd's own file format, streamed in slices of the loop
    composed.py    what is made of the other services: lock.py election.py (their queue: turns.py), reflection.py, and
    gateway.py     the JSON gateway (gateway_json.py);  local_call.py is how these ask the services, in their client's name
    health.py      gRPC health; over HTTP /health, /livez, /readyz, /version, /metrics (metrics.py)
    access.py      who asks (tokens.py, certificates), and whether he may; passwords.py hashes and compares
    node.py        what they share: the member (MemberPort), the state, limits, the header of every answer
    watch_hub.py   watchers: synced, catching up, slow; the events of a turn are encoded once and shared (interest.py)
    checkpoints.py what a new leader is to give leases
    lessor.py      leases on the leader: expiry by an injected clock, renewals, re-arming after a leader change
    space.py compactor.py corruption.py   the quota's alarm; auto-compaction; hashes compared between members
    slices.py      long work in slices between other work
    scrubber.py    takes away, in slices, what compaction made garbage
    leader_guard.py  cuts streams that asked for a leader when there is none
    visitors.py    which web pages may ask (CORS), and by which names we may be called
    errors.py      the one table: failure -> gRPC code and etcd's exact text

    services = Services(member, state, limits, random, loop)
    server = Server(services.routes(), http1=services.http);  services.stop()
"""

from kvstore.api.compactor import Retention, parse_retention
from kvstore.api.corruption import CorruptionOptions
from kvstore.api.node import ApiLimits, MemberPort
from kvstore.api.services import Services
from kvstore.api.tokens import AuthOptions
from kvstore.api.visitors import VisitorRules

__all__ = [
    "ApiLimits",
    "AuthOptions",
    "CorruptionOptions",
    "MemberPort",
    "Retention",
    "Services",
    "VisitorRules",
    "parse_retention",
]
