"""The synchronous face."""

import threading

import pytest

from kvstore.client import FutureRevision, ops
from kvstore.client.sync import SyncClient
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
