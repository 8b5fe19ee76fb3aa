"""Cluster, Maintenance, Auth, health and the HTTP side."""

import asyncio
import json

import pytest

from kvstore.api.metrics_text import of_histogram, render
from kvstore.member.figures import Histogram
from kvstore.pb import health_pb2
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Code, RpcError
from tests.kvstore.api.calls import call
from tests.kvstore.api.fake_member import MEMBER_ID, OTHER_ID, FakeServer


async def http(server: FakeServer, path: str, method: str = "GET") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body.decode()


async def test_members_are_listed_without_a_revision(served: FakeServer) -> None:
    for linearizable in (False, True):
        listed = await call(served.channel, "Cluster/MemberList", rpc.MemberListRequest(linearizable=linearizable))
        assert [(one.ID, one.name, one.isLearner) for one in listed.members] == [
            (MEMBER_ID, "one", False),
            (OTHER_ID, "", True),
        ]
        assert listed.header.revision == 0


async def test_the_status_says_what_clients_switch_on(served: FakeServer) -> None:
    status = await call(served.channel, "Maintenance/Status", rpc.StatusRequest())
    assert (status.version, status.leader, status.raftTerm, list(status.errors)) == ("3.7.0", MEMBER_ID, 3, [])
    served.member.elect(0)
    status = await call(served.channel, "Maintenance/Status", rpc.StatusRequest())
    assert list(status.errors) == ["etcdserver: no leader"]


async def test_hashes_alarms_and_defragmentation_answer(served: FakeServer) -> None:
    before = await call(served.channel, "Maintenance/HashKV", rpc.HashKVRequest())
    await call(served.channel, "KV/Put", rpc.PutRequest(key=b"a"))
    after = await call(served.channel, "Maintenance/HashKV", rpc.HashKVRequest())
    assert before.hash != after.hash
    assert (after.hash_revision, after.compact_revision) == (2, -1), "as etcd says before the first compaction"
    then = await call(served.channel, "Maintenance/HashKV", rpc.HashKVRequest(revision=1))
    assert then.hash == before.hash
    assert (await call(served.channel, "Maintenance/Hash", rpc.HashRequest())).hash == after.hash
    assert len((await call(served.channel, "Maintenance/Alarm", rpc.AlarmRequest())).alarms) == 0
    await call(served.channel, "Maintenance/Defragment", rpc.DefragmentRequest())


async def test_an_alarm_that_nobody_knows_is_refused_and_harms_nobody(served: FakeServer) -> None:
    for encoded in (b"\x08\x09", b"\x08\x01\x18\x09"):  # an unknown action; an unknown alarm raised
        with pytest.raises(RpcError, match="unknown alarm"):
            await call(served.channel, "Maintenance/Alarm", rpc.AlarmRequest.FromString(encoded))
    assert not (await call(served.channel, "Maintenance/Status", rpc.StatusRequest())).errors


async def test_only_the_leader_moves_the_lead_and_only_to_a_voter(served: FakeServer) -> None:
    with pytest.raises(RpcError, match="etcdserver: bad leader transferee"):
        await call(served.channel, "Maintenance/MoveLeader", rpc.MoveLeaderRequest(targetID=OTHER_ID))
    await call(served.channel, "Maintenance/MoveLeader", rpc.MoveLeaderRequest(targetID=MEMBER_ID))
    assert served.member.term == 3
    served.member.elect(OTHER_ID)
    with pytest.raises(RpcError, match="etcdserver: not leader"):
        await call(served.channel, "Maintenance/MoveLeader", rpc.MoveLeaderRequest(targetID=MEMBER_ID))


async def test_auth_is_off(served: FakeServer) -> None:
    assert not (await call(served.channel, "Auth/AuthStatus", rpc.AuthStatusRequest())).enabled


async def test_grpc_health_knows_the_server_as_a_whole(served: FakeServer) -> None:
    path = "/grpc.health.v1.Health/Check"
    answer = health_pb2.HealthCheckResponse.FromString(await served.channel.unary(path, b""))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    request = health_pb2.HealthCheckRequest(service="other").SerializeToString()
    with pytest.raises(RpcError) as caught:
        await served.channel.unary(path, request)
    assert caught.value.code == Code.NOT_FOUND
    stream = served.channel.stream("/grpc.health.v1.Health/Watch")
    stream.send(b"")
    assert health_pb2.HealthCheckResponse.FromString(await anext(aiter(stream))) == answer
    stream.cancel()


async def test_http_probes_answer_as_etcds(served: FakeServer) -> None:
    assert await http(served, "/health") == (200, '{"health":"true","reason":""}')
    assert await http(served, "/livez") == (200, "ok\n")
    assert await http(served, "/readyz") == (200, "ok\n")
    assert await http(served, "/readyz/linearizable_read") == (200, "ok\n")
    assert (await http(served, "/readyz?verbose&exclude=non_learner"))[1].splitlines() == [
        "[+]data_corruption ok",
        "[+]serializable_read ok",
        "[+]linearizable_read ok",
        "[+]non_learner excluded: ok",
        "ok",
    ]
    assert json.loads((await http(served, "/version"))[1])["etcdserver"] == "3.7.0"
    assert (await http(served, "/nothing"))[0] == 404
    assert (await http(served, "/health", "POST"))[0] == 405


async def test_http_probes_tell_that_there_is_no_leader(served: FakeServer) -> None:
    served.member.elect(0)
    assert await http(served, "/health") == (503, '{"health":"false","reason":"RAFT NO LEADER"}')
    status, body = await http(served, "/readyz")
    assert status == 503
    assert "[-]linearizable_read failed: etcdserver: no leader" in body
    assert (await http(served, "/livez"))[0] == 200


async def test_the_metrics_have_etcds_names(served: FakeServer) -> None:
    for number in range(3):
        await call(served.channel, "KV/Put", rpc.PutRequest(key=b"%d" % number))
    await call(served.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=b"0", range_end=b"2"))
    await call(served.channel, "Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=60))
    status, page = await http(served, "/metrics")
    assert status == 200
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
    assert values["etcd_server_has_leader"] == "1"
    assert values["etcd_debugging_mvcc_current_revision"] == "5"
    assert (values["etcd_mvcc_put_total"], values["etcd_mvcc_delete_total"]) == ("3", "2")
    assert (values["etcd_debugging_lease_granted_total"], values["etcd_debugging_lease_revoked_total"]) == ("1", "0")
    assert values['etcd_cluster_version{cluster_version="3.7"}'] == "1"
    assert int(values["process_open_fds"]) > 0
    put = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
    assert values[f"grpc_server_started_total{{{put}}}"] == "3"
    assert values[f'grpc_server_handled_total{{grpc_code="OK",{put}}}'] == "3"
    assert 'etcd_server_version{server_version="3.7.0"}' in values


async def test_alarms_make_a_member_unhealthy_unless_they_are_excluded(served: FakeServer) -> None:
    for alarm in (rpc.NOSPACE, rpc.CORRUPT):
        raised = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=MEMBER_ID, alarm=alarm)
        await call(served.channel, "Maintenance/Alarm", raised)
    assert await http(served, "/health") == (503, '{"health":"false","reason":"ALARM CORRUPT"}')
    assert (await http(served, "/health?exclude=CORRUPT"))[1] == '{"health":"false","reason":"ALARM NOSPACE"}'
    assert (await http(served, "/health?exclude=CORRUPT&exclude=NOSPACE"))[0] == 200
    assert (await http(served, "/readyz"))[0] == 503
    assert (await http(served, "/readyz?exclude=data_corruption"))[0] == 200


async def test_calls_are_counted_by_their_outcome(served: FakeServer) -> None:
    with pytest.raises(RpcError):
        await call(served.channel, "KV/Put", rpc.PutRequest())
    served.member.holds_proposals = True
    with pytest.raises(RpcError):
        await served.channel.unary("/etcdserverpb.KV/Put", rpc.PutRequest(key=b"a").SerializeToString(), timeout=0.02)
    served.member.release()
    waiting = asyncio.ensure_future(call(served.channel, "KV/Range", rpc.RangeRequest(key=b"a")))
    assert (await waiting).count == 1
    page = (await http(served, "/metrics"))[1]
    labels = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}'
    assert f'grpc_server_handled_total{{grpc_code="InvalidArgument",{labels} 1' in page
    assert f"grpc_server_started_total{{{labels} 2" in page
    assert 'grpc_server_handled_total{grpc_code="OK",grpc_method="Range"' in page
    assert "etcd_mvcc_range_total 1" in page
    watch = 'grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}'
    assert f"grpc_server_started_total{{{watch} 0" in page


def test_a_histogram_is_told_cumulatively() -> None:
    histogram = Histogram((0.001, 0.01))
    for seconds in (0.0005, 0.001, 0.005, 7):
        histogram.observe(seconds)
    page = render([of_histogram("disk", "How long.", histogram)])
    assert page.splitlines() == [
        "# HELP disk How long.",
        "# TYPE disk histogram",
        'disk_bucket{le="0.001"} 2',
        'disk_bucket{le="0.01"} 3',
        'disk_bucket{le="+Inf"} 4',
        "disk_sum 7.0065",
        "disk_count 4",
    ]
