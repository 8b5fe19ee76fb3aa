"""The synchronous face."""

import threading
from pathlib import Path

import pytest

from kvstore.client import FutureRevision, ops, prefix_end
from kvstore.client.sync import SyncClient, SyncTransaction
from kvstore.client.sync_recipes import SyncBarrier, SyncDoubleBarrier, SyncElection, SyncLock, SyncQueue
from kvstore.pb import rpc_pb2
from tests.kvstore.client.conftest import EtcdProcess


def test_the_synchronous_client_does_the_same(shared_etcd: EtcdProcess, prefix: bytes) -> None:
    with SyncClient([shared_etcd.endpoint]) as client:
        put = client.put(prefix, b"1")
        kv = client.get(prefix)
        assert kv is not None
        assert kv.mod_revision == put.header.revision
        assert client.txn([ops.value(prefix) == b"1"], [ops.put(prefix, b"2")]).succeeded
        with pytest.raises(FutureRevision):
            client.range(prefix, revision=10**9)
        lease = client.lease(30)
        client.put(prefix + b"leased", b"", lease=lease.id)
        lease.revoke()
        assert lease.is_lost
        assert client.get(prefix + b"leased") is None


def test_a_synchronous_watch_is_a_plain_iterator_that_another_thread_can_end(
    shared_etcd: EtcdProcess, prefix: bytes
) -> None:
    with SyncClient([shared_etcd.endpoint]) as client:
        watch = client.watch(prefix)
        watch.started()
        client.put(prefix, b"1")
        assert next(watch).events[0].kv.value == b"1"
        ender = threading.Thread(target=watch.cancel)
        ender.start()
        assert list(watch) == []
        ender.join()


def test_pages_snapshots_and_requests_have_a_synchronous_face(shared_etcd: EtcdProcess, prefix: bytes, tmp_path: Path) -> None:
    with SyncClient([shared_etcd.endpoint]) as client:
        for index in range(5):
            client.put(prefix + b"%d" % index, b"")
        assert [len(page.kvs) for page in client.range_stream(prefix, prefix_end(prefix), page_keys=2)] == [2, 2, 1]
        for page in client.range_stream(prefix, prefix_end(prefix), page_keys=2):
            assert page.more
            break  # an iteration that is left ends its source
        assert client.snapshot(tmp_path / "db") == (tmp_path / "db").stat().st_size
        alarms = client.request("/etcdserverpb.Maintenance/Alarm", rpc_pb2.AlarmRequest(), rpc_pb2.AlarmResponse)
        assert not alarms.alarms
        assert client.endpoints == [shared_etcd.endpoint]


def test_recipes_have_synchronous_faces(shared_etcd: EtcdProcess, prefix: bytes) -> None:
    with SyncClient([shared_etcd.endpoint]) as client, client.lease(30) as lease, client.lease(30) as other:
        assert lease.is_held
        with SyncLock(client, prefix + b"lock", lease) as lock:
            assert lock.is_held()
            token = lock.fencing_token
        with SyncLock(client, prefix + b"lock", other) as lock:
            assert lock.fencing_token > token
            assert lock.key.startswith(prefix + b"lock/")
        election = SyncElection(client, prefix + b"election", lease)
        assert election.campaign(b"me") == election.fencing_token
        election.proclaim(b"still me")
        assert next(iter(election.observe())).value == b"still me"
        leader = election.leader()
        assert leader is not None
        assert leader.key == election.key
        election.resign()
        barrier = SyncBarrier(client, prefix + b"barrier")
        assert barrier.hold(lease)
        waiting = threading.Thread(target=barrier.wait)
        waiting.start()
        barrier.release()
        waiting.join()
        pair = [SyncDoubleBarrier(client, prefix + b"double", one, 2) for one in (lease, other)]
        entering = threading.Thread(target=pair[0].enter)
        entering.start()
        pair[1].enter()
        entering.join()
        queue = SyncQueue(client, prefix + b"queue")
        queue.put(b"1")
        queue.put(b"0", priority=0)
        with queue.take(lease) as item:
            assert item.value == b"1"
        assert (queue.pop(), queue.size()) == (b"0", 0)
        with pytest.raises(KeyError), SyncLock(client, prefix + b"lock", lease):
            raise KeyError


def test_transactions_of_many_threads_are_as_if_one_after_the_other(shared_etcd: EtcdProcess, prefix: bytes) -> None:
    with SyncClient([shared_etcd.endpoint]) as client:

        def increment(transaction: SyncTransaction) -> None:
            transaction.put(prefix, b"%d" % (int(transaction.get(prefix) or b"0") + 1))

        def work() -> None:
            for _ in range(5):
                client.transact(increment)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kv = client.get(prefix)
        assert kv is not None
        assert kv.value == b"20"

        def fail(transaction: SyncTransaction) -> None:
            transaction.delete(prefix)
            raise KeyError

        with pytest.raises(KeyError):
            client.transact(fail)
        assert client.get(prefix) is not None


def test_a_closed_client_and_its_own_thread_refuse_to_wait(shared_etcd: EtcdProcess) -> None:
    client = SyncClient([shared_etcd.endpoint])

    async def wait_inside() -> None:
        client.get(b"a")

    with pytest.raises(RuntimeError, match="own thread"):
        client.runner.run(wait_inside())
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get(b"a")
