"""A member whose disk has failed it comes back with the help of the others, or refuses clearly; nothing is lost."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from chaos.machine.shim import environment as fault
from tests.durability.shim import needs_compiler
from tests.durability.test_damage import cut_in_half, flip, largest
from tests.kvstore.api.processes import free_ports, needs_etcdctl
from tests.kvstore.membership.load import Load, keys
from tests.kvstore.membership.servers import OURS, Servers, servers
from tests.kvstore.tls.test_tls import Folder

pytestmark = [needs_etcdctl, pytest.mark.e2e]
NAMES = ("one", "two", "three")
READY = "ready to serve client requests"


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Servers]:
    with servers(OURS, tmp_path) as cluster:
        yield cluster


def loaded(cluster: Servers, count: int = 120) -> list[bytes]:
    """Found a cluster and write; what was acknowledged."""
    cluster.found(*NAMES)
    load = Load(cluster, *NAMES)
    load.reach(count)
    return load.end()


def damage(cluster: Servers, name: str) -> None:
    """Kill it, and flip a bit of a key in the middle of its log."""
    cluster.end(name, signal.SIGKILL)
    assert flip(cluster.directory / name / "log", b"load/000050") > 0


def follower(cluster: Servers) -> str:
    leader = cluster.leader("one")
    return next(name for name in NAMES if name != leader)


@pytest.mark.parametrize("who", ["leader", pytest.param("follower", marks=pytest.mark.slow)])
def test_a_member_with_a_flipped_bit_in_its_log_rejoins_under_another_id_while_writes_go_on(
    ours: Servers, who: str
) -> None:
    ours.found(*NAMES)
    bad = ours.leader("one") if who == "leader" else follower(ours)
    others = [name for name in NAMES if name != bad]
    load = Load(ours, *NAMES)
    try:
        load.reach(120)
        former = ours.member_id(others[0], bad)
        damage(ours, bad)
        load.reach(30)
        ours.start(bad, NAMES, "new")  # ready: it has what it had acknowledged, and serves
        load.reach(30)
    finally:
        acknowledged = load.end()
    assert set(acknowledged) <= keys(ours, bad)
    assert "does not match its checksum: member" in ours.log(bad)
    rows = ours.members(others[0])
    assert sorted(row["name"] for row in rows) == sorted(NAMES)
    assert former not in {f"{row['ID']:x}" for row in rows}
    assert (ours.directory / bad / "damaged-1" / "log").is_dir()  # kept
    ours.until("true", bad, "endpoint", "health", "-w", "json")
    ours.end(others[0], signal.SIGKILL)  # it has a vote again: the cluster does without another one
    ours.ok(bad, "put", "after", "all")
    ours.end(bad)
    ours.start(bad, NAMES, "new")  # and starts with the same flags as ever
    assert ours.ok(bad, "get", "after") == "after\nall\n"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["automatic", "with names"])
def test_a_damaged_member_rejoins_over_tls(tmp_path: Path, kind: str) -> None:
    flags: tuple[str, ...] = ("--peer-auto-tls",)
    if kind == "with names":
        folder = Folder(tmp_path)
        flags = (f"--peer-cert-file={folder.path / 'server.pem'}", f"--peer-key-file={folder.path / 'server.key'}",
                 f"--peer-trusted-ca-file={folder.path / 'ca.pem'}", "--peer-client-cert-auth",
                 "--peer-cert-allowed-cn=server")  # fmt: skip
    with servers(OURS, tmp_path / "members", "https", flags) as cluster:
        acknowledged = loaded(cluster, 700)  # so many that it gets a snapshot
        bad = follower(cluster)
        damage(cluster, bad)
        cluster.start(bad, NAMES, "new")
        assert set(acknowledged) <= keys(cluster, bad)
        assert cluster.end(bad) == 0
        cut_in_half(largest(cluster.directory / bad / "state"))
        cluster.start(bad, NAMES, "new")
        assert "the state was made anew from another member's" in cluster.log(bad)
        assert set(acknowledged) <= keys(cluster, bad)


@pytest.mark.slow
def test_a_damaged_member_does_not_serve_before_a_majority_of_the_others_has_replaced_it(ours: Servers) -> None:
    acknowledged = loaded(ours)
    damage(ours, "one")
    ours.end("two", signal.SIGKILL)
    waiting = ours.start("one", NAMES, "new", waits=False)
    assert waiting.reaches("no other member has helped yet")
    with pytest.raises(grpc.RpcError):
        keys(ours, "one", serializable=True)
    ours.end("one", signal.SIGKILL)  # it may be killed while it waits
    ours.start("two", NAMES, "new", waits=False)
    ours.start("one", NAMES, "new")
    assert set(acknowledged) <= keys(ours, "one")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 16))
def test_a_replacement_may_be_killed_at_any_sync(
    ours: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    acknowledged = loaded(ours)
    bad = follower(ours)
    good = next(name for name in NAMES if name != bad)
    damage(ours, bad)
    with monkeypatch.context() as patch:
        for name, value in fault(tmp_path, "sync", "kill", f"/{bad}", at=at).items():
            patch.setenv(name, value)
        if not ours.start(bad, NAMES, "new", waits=False).reaches(READY):
            assert ours.running[bad].exit_code() == -signal.SIGKILL
    ours.end(bad, signal.SIGKILL)
    ours.start(bad, NAMES, "new")
    assert set(acknowledged) <= keys(ours, bad)
    assert len(ours.members(good)) == 3
    ours.ok(bad, "put", "after", "all")


@pytest.mark.parametrize("loss", ["missing", pytest.param("cut", marks=pytest.mark.slow)])
def test_a_lost_state_comes_from_another_member_and_the_log_goes_on(ours: Servers, loss: str) -> None:
    acknowledged = loaded(ours, 700)  # the log has been compacted: it cannot make the state anew
    bad = follower(ours)
    former = ours.member_id("one", bad)
    ours.end(bad, signal.SIGKILL)
    state = ours.directory / bad / "state"
    if loss == "missing":
        shutil.rmtree(state)
    else:
        cut_in_half(largest(state))
    ours.start(bad, NAMES, "new")
    assert "the state was made anew from another member's" in ours.log(bad)
    assert set(acknowledged) <= keys(ours, bad)
    assert ours.member_id(bad, bad) == former
    ours.ok(bad, "put", "after", "all")


@pytest.mark.slow
def test_a_log_with_missing_files_is_refused_unless_asked_for(ours: Servers) -> None:
    acknowledged = loaded(ours)
    bad = follower(ours)
    ours.end(bad)
    largest(ours.directory / bad / "log").unlink()
    assert ours.start(bad, NAMES, "new", waits=False).exit_code() == 1
    assert "the log is missing" in ours.log(bad).splitlines()[-1]
    ours.end(bad)
    ours.start(bad, NAMES, "new", "--recover-from-peers=always")
    assert set(acknowledged) <= keys(ours, bad)


@pytest.mark.slow
def test_a_flipped_bit_is_refused_where_no_help_is_wanted(ours: Servers) -> None:
    loaded(ours)
    bad = follower(ours)
    damage(ours, bad)
    assert ours.start(bad, NAMES, "new", "--recover-from-peers=never", waits=False).exit_code() == 1
    assert "does not match its checksum" in ours.log(bad).splitlines()[-1]
    assert not (ours.directory / bad / "damaged").exists()


@pytest.mark.slow
def test_a_damaged_copy_of_a_running_member_does_not_push_it_out(ours: Servers) -> None:
    loaded(ours)
    bad = follower(ours)
    before = ours.members("one")
    shutil.copytree(ours.directory / bad, ours.directory / "copy")
    assert flip(ours.directory / "copy" / "log", b"load/000050") > 0
    client, peer = free_ports(2)
    flags = ("--data-dir", str(ours.directory / "copy"), f"--listen-client-urls=http://127.0.0.1:{client}",
             f"--listen-peer-urls=http://127.0.0.1:{peer}")  # fmt: skip
    copy = ours.process(bad, NAMES, "new", *flags)
    ours.running["copy"] = copy
    copy.start()
    assert copy.reaches("it is not replaced while it runs")
    assert ours.members("one") == before
    assert (ours.directory / "copy" / "damaged").exists()
