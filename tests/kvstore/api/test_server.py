"""One member as a process would run it: start, serve, stop, start again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from kvstore.command import member
from kvstore.member.config import MemberConfig
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel
from kvstore.server import run
from kvstore.storage.data_dir import DataDirectoryInUse
from tests.differential.http import Http
from tests.kvstore.api.calls import call
from tests.kvstore.api.processes import free_ports


def config_of(directory: Path) -> MemberConfig:
    client, peer = free_ports(2)
    client_url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return MemberConfig(
        name="one",
        data_dir=directory,
        listen_client_urls=(client_url,),
        advertise_client_urls=(client_url,),
        listen_peer_urls=(peer_url,),
        initial_advertise_peer_urls=(peer_url,),
    )


@asynccontextmanager
async def running(config: MemberConfig) -> AsyncIterator[Channel]:
    stop, is_ready = asyncio.Event(), asyncio.Event()
    task = asyncio.ensure_future(run(config, stop=stop, ready=is_ready.set, random=Random(1)))
    waiting = asyncio.ensure_future(is_ready.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()
    channel = Channel(config.listen_client_urls[0])
    try:
        yield channel
    finally:
        await channel.close()
        stop.set()
        await task


async def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with running(config) as channel:
        await call(channel, "KV/Put", rpc.PutRequest(key=b"a", value=b"1"))
    async with running(config) as channel:
        found = await call(channel, "KV/Range", rpc.RangeRequest(key=b"a"))
        assert (found.kvs[0].value, found.header.revision) == (b"1", 2)
        listed = await call(channel, "Cluster/MemberList", rpc.MemberListRequest())
        assert [one.name for one in listed.members] == ["one"]


async def test_the_metrics_page_tells_of_the_disk_and_of_the_bytes_of_clients(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with running(config) as channel:
        await call(channel, "KV/Put", rpc.PutRequest(key=b"a", value=b"1" * 1000))
        http = Http(config.listen_client_urls[0].removeprefix("http://"))
        page = (await http.ask("GET", "/metrics"))[1]
        await http.close()
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert int(values["etcd_network_client_grpc_received_bytes_total"]) > 1000
    assert 0 < int(values["etcd_network_client_grpc_sent_bytes_total"]) < 1000
    fsync = "etcd_disk_wal_fsync_duration_seconds"
    assert 0 < int(values[f"{fsync}_count"]) == int(values[f'{fsync}_bucket{{le="+Inf"}}'])


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with running(config):
        with pytest.raises(DataDirectoryInUse):
            await run(config, stop=asyncio.Event(), ready=lambda: None)


async def test_a_client_port_in_use_is_an_os_error_and_leaves_nothing_running(tmp_path: Path) -> None:
    config = config_of(tmp_path / "one")
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", int(config.listen_client_urls[0][17:]))
    with pytest.raises(OSError, match="in use"):
        await run(config, stop=asyncio.Event(), ready=lambda: None)
    taken.close()
    async with running(config) as channel:
        assert (await call(channel, "Maintenance/Status", rpc.StatusRequest())).leader


async def test_waiting_calls_are_told_that_the_server_stops(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with running(config) as channel:
        stream = channel.stream("/etcdserverpb.Watch/Watch")
        request = rpc.WatchCreateRequest(key=b"a")
        stream.send(rpc.WatchRequest(create_request=request).SerializeToString())
        await anext(aiter(stream))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--election-timeout", "abc"], "--election-timeout must be a number"),
        (["--election-timeout=100", "--heartbeat-interval=100"], "at least 5 times"),
        (["--initial-cluster", "other=http://127.0.0.1:1"], "couldn't find local name"),
        (["--watch-progress-notify-interval", "soon"], "is not a duration"),
        (["--quota-backend-bytes=lots"], "must be a number"),
    ],
)
def test_a_flag_that_makes_no_sense_is_one_clear_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(member, ["--data-dir", str(tmp_path), *arguments])
    assert result.exit_code != 0
    assert message in result.output.splitlines()[-1]


def test_flags_may_come_from_the_environment(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        member, [], env={"ETCD_DATA_DIR": str(tmp_path), "ETCD_NAME": "one", "ETCD_INITIAL_CLUSTER": "two=http://h:1"}
    )
    assert "couldn't find local name 'one'" in result.output


def test_the_help_names_etcds_flags() -> None:
    output = CliRunner().invoke(member, ["--help"]).output
    for flag in ("--name", "--data-dir", "--listen-client-urls", "--initial-cluster-state", "--quota-backend-bytes"):
        assert flag in output
