"""Three member processes, judged by real etcdctl and by grpcio."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from kvstore.pb import rpc_pb2 as rpc
from tests.kvstore.api.processes import ETCDCTL, Cluster, needs_etcdctl, running_cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def etcdctl(cluster: Cluster, *arguments: str, member: int | None = None, text: str = "", fails: bool = False) -> str:
    """Run etcdctl against all members, or one; return its output (its errors, where it is to fail)."""
    endpoints = cluster.endpoints if member is None else [cluster.endpoints[member]]
    done = subprocess.run(
        [ETCDCTL, "--endpoints", ",".join(endpoints), *arguments],
        input=text, capture_output=True, text=True, timeout=30, env={**os.environ, "ETCDCTL_API": "3"}, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def leader_of(cluster: Cluster) -> int:
    """Return the place of the leader among the members."""
    for place, endpoint in enumerate(cluster.endpoints):
        with grpc.insecure_channel(endpoint) as channel:
            status = unary(channel, "Maintenance/Status", rpc.StatusRequest(), rpc.StatusResponse)
        if status.leader == status.header.member_id:
            return place
    raise AssertionError("no member leads")


def unary(channel: grpc.Channel, method: str, request: Any, response: Any) -> Any:
    stub = channel.unary_unary(
        f"/etcdserverpb.{method}", request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )  # fmt: skip
    return stub(request, timeout=10)


@needs_etcdctl
@pytest.mark.parametrize("member", [0, 1, 2])
def test_etcdctl_puts_gets_and_deletes_through_any_member(cluster: Cluster, member: int) -> None:
    assert etcdctl(cluster, "put", "any/key", f"through {member}", member=member) == "OK\n"
    assert etcdctl(cluster, "get", "any/key", member=(member + 1) % 3) == f"any/key\nthrough {member}\n"
    assert etcdctl(cluster, "get", "any/", "--prefix", "--keys-only", member=member).split() == ["any/key"]
    assert etcdctl(cluster, "del", "any/key", member=(member + 2) % 3) == "1\n"
    assert etcdctl(cluster, "get", "any/key", member=member) == ""


@needs_etcdctl
def test_etcdctl_runs_transactions(cluster: Cluster) -> None:
    etcdctl(cluster, "put", "txn", "before")
    transaction = 'value("txn") = "before"\n\nput txn after\nget txn\n\nget nothing\n\n'
    assert etcdctl(cluster, "txn", text=transaction).split() == ["SUCCESS", "OK", "txn", "after"]
    assert etcdctl(cluster, "txn", text=transaction).split() == ["FAILURE"]


@needs_etcdctl
def test_etcdctl_watches_from_a_revision_through_another_member(cluster: Cluster) -> None:
    found = json.loads(etcdctl(cluster, "put", "seen/1", "a", "-w", "json", member=0))
    etcdctl(cluster, "del", "seen/1", member=1)
    start = str(found["header"]["revision"])
    with subprocess.Popen(
        [ETCDCTL, "--endpoints", cluster.endpoints[2], "watch", "seen/", "--prefix", "--rev", start],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "ETCDCTL_API": "3"},
    ) as watcher:  # fmt: skip
        assert watcher.stdout is not None
        lines = [watcher.stdout.readline() for _ in range(6)]
        etcdctl(cluster, "put", "seen/2", "live", member=0)
        lines += [watcher.stdout.readline() for _ in range(3)]
        watcher.terminate()
    assert "".join(lines).split() == ["PUT", "seen/1", "a", "DELETE", "seen/1", "PUT", "seen/2", "live"]


@needs_etcdctl
def test_etcdctl_grants_renews_and_revokes_leases(cluster: Cluster) -> None:
    lease = etcdctl(cluster, "lease", "grant", "100").split()[1]
    etcdctl(cluster, "put", "leased", "x", f"--lease={lease}")
    for member in range(3):
        assert f"lease {lease} keepalived with TTL(100)" in etcdctl(
            cluster, "lease", "keep-alive", "--once", lease, member=member
        )
        shown = etcdctl(cluster, "lease", "timetolive", lease, "--keys", member=member)
        assert "granted with TTL(100s)" in shown
        assert "[leased]" in shown
    assert lease in etcdctl(cluster, "lease", "list")
    etcdctl(cluster, "lease", "revoke", lease)
    assert etcdctl(cluster, "get", "leased") == ""


@needs_etcdctl
def test_a_lease_expires_by_itself(cluster: Cluster) -> None:
    lease = etcdctl(cluster, "lease", "grant", "1").split()[1]
    etcdctl(cluster, "put", "short", "x", f"--lease={lease}")
    with subprocess.Popen(
        [ETCDCTL, "--endpoints", cluster.endpoints[1], "watch", "short", "--rev", "1"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "ETCDCTL_API": "3"},
    ) as watcher:  # fmt: skip
        assert watcher.stdout is not None
        lines = [watcher.stdout.readline() for _ in range(5)]
        watcher.terminate()
    assert "".join(lines).split() == ["PUT", "short", "x", "DELETE", "short"]


@needs_etcdctl
def test_etcdctl_shows_members_health_and_status(cluster: Cluster) -> None:
    members = json.loads(etcdctl(cluster, "member", "list", "-w", "json"))["members"]
    assert sorted(member["name"] for member in members) == ["one", "three", "two"]
    assert len(etcdctl(cluster, "endpoint", "status").splitlines()) == 3
    statuses = json.loads(etcdctl(cluster, "endpoint", "status", "-w", "json"))
    assert len({status["Status"]["leader"] for status in statuses}) == 1
    etcdctl(cluster, "endpoint", "health")
    hashes = {line.split(", ")[1] for line in etcdctl(cluster, "endpoint", "hashkv").splitlines()}
    assert len(hashes) == 1


@needs_etcdctl
def test_etcdctl_compacts(cluster: Cluster) -> None:
    revision = json.loads(etcdctl(cluster, "put", "old", "1", "-w", "json"))["header"]["revision"]
    etcdctl(cluster, "put", "old", "2")
    assert etcdctl(cluster, "get", "old", f"--rev={revision}") == "old\n1\n"
    assert etcdctl(cluster, "compaction", str(revision + 1)) == f"compacted revision {revision + 1}\n"
    refusal = etcdctl(cluster, "get", "old", f"--rev={revision}", fails=True)
    assert "etcdserver: mvcc: required revision has been compacted" in refusal


def test_many_grpcio_writers_through_all_members_lose_nothing(cluster: Cluster) -> None:
    def write(number: int) -> None:
        with grpc.insecure_channel(cluster.endpoints[number % 3]) as channel:
            for count in range(20):
                key = b"many/%d/%02d" % (number, count)
                unary(channel, "KV/Put", rpc.PutRequest(key=key, value=bytes(1000)), rpc.PutResponse)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    for endpoint in cluster.endpoints:
        with grpc.insecure_channel(endpoint) as channel:
            request = rpc.RangeRequest(key=b"many/", range_end=b"many0", count_only=True)
            assert unary(channel, "KV/Range", request, rpc.RangeResponse).count == 120


def test_nothing_that_was_answered_is_lost_when_the_leader_is_killed(cluster: Cluster) -> None:
    place = leader_of(cluster)
    survivors = [endpoint for number, endpoint in enumerate(cluster.endpoints) if number != place]
    with grpc.insecure_channel(cluster.endpoints[place]) as channel:
        for number in range(50):
            request = rpc.PutRequest(key=b"kept/%02d" % number, value=b"x")
            unary(channel, "KV/Put", request, rpc.PutResponse)
        cluster.members[place].end(signal.SIGKILL)
    request = rpc.RangeRequest(key=b"kept/", range_end=b"kept0", count_only=True)
    for endpoint in survivors:
        with grpc.insecure_channel(endpoint) as channel:
            assert unary(channel, "KV/Range", request, rpc.RangeResponse).count == 50
            unary(channel, "KV/Put", rpc.PutRequest(key=b"afterwards"), rpc.PutResponse)
    cluster.members[place].start()
    cluster.members[place].wait_ready()
    with grpc.insecure_channel(cluster.endpoints[place]) as channel:
        assert unary(channel, "KV/Range", request, rpc.RangeResponse).count == 50


def test_a_terminated_member_ends_cleanly_and_the_others_go_on(cluster: Cluster) -> None:
    place = leader_of(cluster)
    assert cluster.members[place].end(signal.SIGTERM) == 0
    with grpc.insecure_channel(cluster.endpoints[(place + 1) % 3]) as channel:
        unary(channel, "KV/Put", rpc.PutRequest(key=b"meanwhile"), rpc.PutResponse)
    cluster.members[place].start()
    cluster.members[place].wait_ready()
    assert leader_of(cluster) != place


def test_a_second_process_on_the_same_directory_is_refused_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    done = subprocess.run(cluster.members[0]._arguments, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "in use by another process" in done.stderr.splitlines()[-1]
