"""The Python client of any etcd v3 cluster (ours or etcd itself), asyncio core.

    client = Client(["127.0.0.1:2379", ...], ssl_context=None, user=None, password=None, timeout_seconds=10.0, chance=None)
                                                                           endpoints: failover in order of health
    await client.range(key, range_end=b"", *, limit=0, revision=0, keys_only=False, count_only=False, serializable=False,
                       sort_order=0, sort_target=0, min_mod_revision=0, ...) -> rpc_pb2.RangeResponse
    await client.get(key, *, revision=0, serializable=False) -> kv_pb2.KeyValue | None
    await client.put(key, value, *, lease=0, prev_kv=False, ignore_value=False, ignore_lease=False) -> rpc_pb2.PutResponse
    await client.delete(key, range_end=b"", *, prev_kv=False) -> rpc_pb2.DeleteRangeResponse
    await client.txn(compares, success=(), failure=()) -> rpc_pb2.TxnResponse
                       builders: kvstore.client.ops (mod_revision(k) == 5, put(k, v), delete(k), range_(k), txn(...))
    await client.compact(revision, physical=False)
    await client.request(path, message, response_type, is_read=False)      any other unary method
                       range, get, put, delete, txn and request take timeout_seconds=... for one call
    watch = client.watch(key, range_end=b"", *, start_revision=0, prev_kv=False, progress_notify=False, filters=(),
                         fragment=False)
        await watch.started() -> revision (without start_revision the watch sees every event after it)
        async for batch in watch: batch.revision, batch.events (kv_pb2.Event), batch.is_progress
        await watch.request_progress();  watch.cancel()
        resumes by itself after a lost connection, without gap or duplicate; raises Compacted(compact_revision) when it cannot
    await client.lease_grant(ttl_seconds, lease_id=0), lease_revoke(id), lease_time_to_live(id, keys=False), leases(),
                 lease_keep_alive(id) -> ttl
    lease = await client.lease(ttl_seconds)      kept alive in the background until `await lease.revoke()`
        lease.id, lease.lost: asyncio.Event, lease.is_held
    async for page in client.range_stream(key, range_end, page_keys=1000): page.kvs      all keys, of one revision
    await client.status(endpoint=None), member_list(), request_progress() (on every watch), snapshot(path) -> bytes
    await client.close();  async with Client(...) as client
    prefix_end(prefix: bytes) -> bytes
Recipes: Lock, Election, Barrier, DoubleBarrier, Queue, transact(client, function): each class says what holds when
processes die. Locks, elections and claimed items have a *fencing token*.
Errors: EtcdError(code, text, sent) and its subclasses in errors.py (Compacted, FutureRevision, LeaseNotFound, NoLeader,
Unavailable, DeadlineExceeded, NoSpace, PermissionDenied, ...); `is_unknown`: a write that may or may not have been done.
Retries: reads on Unavailable; writes only when the request certainly never left (RpcError.sent is False).

    client.py endpoints.py caller.py     requests, failover and retries         errors.py  the table of etcd's texts, typed
    watch.py lease.py                    what lives longer than a request       ops.py     builders of transactions
    streams.py                           what is larger than a message          waiting.py until the store changes
    lock.py election.py                  Lock, Election: etcd's recipes, with fencing tokens
    barrier.py queue.py                  Barrier, DoubleBarrier; Queue (FIFO, priorities, claims)
    transaction.py                       transactions as plain code: read set, retries, isolation
    sync.py sync_recipes.py face.py      the synchronous faces over the same core (one background thread), and how they are made
"""

from kvstore.client.barrier import Barrier, DoubleBarrier
from kvstore.client.client import Client
from kvstore.client.election import Election
from kvstore.client.errors import (
    Compacted,
    Conflict,
    DeadlineExceeded,
    EtcdError,
    FutureRevision,
    LeaseNotFound,
    LockLost,
    NoLeader,
    Unavailable,
)
from kvstore.client.lease import Lease
from kvstore.client.lock import Lock
from kvstore.client.ops import prefix_end
from kvstore.client.queue import Queue
from kvstore.client.sync import SyncClient
from kvstore.client.transaction import Isolation, Transaction, transact
from kvstore.client.watch import Watch, WatchBatch

__all__ = [
    "Barrier",
    "Client",
    "Compacted",
    "Conflict",
    "DeadlineExceeded",
    "DoubleBarrier",
    "Election",
    "EtcdError",
    "FutureRevision",
    "Isolation",
    "Lease",
    "LeaseNotFound",
    "Lock",
    "LockLost",
    "NoLeader",
    "Queue",
    "SyncClient",
    "Transaction",
    "Unavailable",
    "Watch",
    "WatchBatch",
    "prefix_end",
    "transact",
]
