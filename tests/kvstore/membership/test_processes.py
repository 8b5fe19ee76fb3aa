"""Changes of membership on real processes, asked for by etcdctl; where it matters, the same is asked of a real etcd."""

import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from kvstore.pb import rpc_pb2 as rpc
from tests.kvstore.api.processes import free_ports, needs_etcd, needs_etcdctl
from tests.kvstore.membership.load import Load, keys
from tests.kvstore.membership.servers import OURS, THEIRS, Servers, servers

pytestmark = needs_etcdctl


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Servers]:
    with servers(OURS, tmp_path) as cluster:
        yield cluster


def conversation(cluster: Servers) -> list[str]:
    """What etcd's answers must equal, without ids: refusals and who is listed."""
    said: list[str] = []

    def listed() -> str:
        rows = [(one.get("name", ""), bool(one.get("clientURLs")), one.get("isLearner", False))
                for one in cluster.members("one")]
        return str(sorted(rows))

    cluster.found("one", flags=())
    first = cluster.member_id("one", "one")
    said.append(listed())
    said.append(cluster.refused("one", "member", "remove", first))
    said.append(cluster.refused("one", "member", "promote", first))
    for request in ("remove", "promote"):
        said.append(cluster.refused("one", "member", request, "abc"))
    said.append(cluster.refused("one", "member", "update", "abc", "--peer-urls=http://127.0.0.1:1"))
    said.append(cluster.refused("one", "member", "add", "two", f"--peer-urls={cluster.peers['one']}"))
    added = cluster.add("one", "two", "--learner").splitlines()
    said += [line for line in added if "STATE" in line or "NAME" in line]
    said.append(listed())
    learner = cluster.member_id("one", "two")
    said.append(cluster.refused("one", "member", "add", "three", "--learner", f"--peer-urls={cluster.peers['three']}"))
    said.append(cluster.refused("one", "member", "update", learner, f"--peer-urls={cluster.peers['one']}"))
    said.append(cluster.refused("one", "member", "promote", learner))
    # not of the learner: etcd 3.4 makes it a voter by that
    said.append(cluster.ok("one", "member", "update", first, f"--peer-urls={cluster.peers['one']}").split()[2])
    cluster.ok("one", "put", "key", "value")
    cluster.start("two", ("one", "two"), "existing", waits=False)
    cluster.until("key\nvalue\n", "two", "get", "key", "--consistency=s")
    said.append(cluster.refused("two", "put", "key", "other"))
    cluster.until("promoted", "one", "member", "promote", learner)
    said.append(listed())
    said.append(cluster.ok("two", "put", "key", "other"))
    cluster.until("removed", "one", "member", "remove", learner)  # etcd wants to have seen it for five seconds
    said.append(f"exit {cluster.running['two'].exit_code()}")
    said.append(listed())
    said.append(cluster.refused("one", "member", "remove", learner))
    return said


@pytest.mark.slow
@needs_etcd
def test_what_is_answered_is_what_etcd_answers(tmp_path: Path) -> None:
    with servers(OURS, tmp_path / "ours") as cluster:
        ours = conversation(cluster)
    with servers(THEIRS, tmp_path / "theirs") as cluster:
        theirs = conversation(cluster)
    assert ours == theirs


def test_a_cluster_of_one_grows_by_a_member_that_catches_up_by_snapshot_while_writes_go_on(ours: Servers) -> None:
    ours.found("one")
    load = Load(ours, "one")
    try:
        load.reach(700)  # more than the log keeps: what is older travels as a snapshot
        ours.add("one", "two")
        load.reach(50)  # the member that has not been started yet costs no quorum
        ours.start("two", ("one", "two"), "existing")
        load.reach(100)
    finally:
        acknowledged = load.end()
    assert set(acknowledged) <= keys(ours, "two")
    assert "installed the snapshot" in ours.log("two")
    assert [one["name"] for one in sorted(ours.members("two"), key=lambda one: one["name"])] == ["one", "two"]


def test_a_removed_leader_hands_over_stops_with_exit_code_0_and_is_not_started_again(ours: Servers) -> None:
    ours.found("one", "two", "three")
    leader = ours.leader("one")
    others = [name for name in ("one", "two", "three") if name != leader]
    load = Load(ours, *others)
    try:
        load.reach(50)
        ours.ok(others[0], "member", "remove", ours.member_id("one", leader))
        assert ours.running[leader].exit_code() == 0
        load.reach(50)
    finally:
        acknowledged = load.end()
    assert "permanently removed" in ours.log(leader)
    ours.end(leader)
    again = ours.start(leader, ("one", "two", "three"), "new", waits=False)
    assert again.exit_code() == 1
    assert "permanently removed" in ours.log(leader)
    for name in others:
        assert set(acknowledged) <= keys(ours, name)
        assert len(ours.members(name)) == 2


def test_a_member_that_was_removed_while_it_was_down_learns_so_when_it_comes_back(ours: Servers) -> None:
    ours.found("one", "two", "three")
    gone = next(name for name in ("two", "three") if name != ours.leader("one"))
    ours.end(gone, signal.SIGKILL)
    ours.ok("one", "member", "remove", ours.member_id("one", gone))
    again = ours.start(gone, ("one", "two", "three"), "new", waits=False)
    assert again.exit_code() in (0, 1)
    assert "permanently removed" in ours.log(gone)


def test_a_founder_that_lost_its_disk_does_not_vote_again(ours: Servers) -> None:
    """It has forgotten its votes: as a new member of that name it could elect two leaders of one term."""
    ours.found("one", "two", "three")
    ours.until(ours.endpoint("three"), "one", "member", "list")  # it has told the others that it runs
    ours.end("three", signal.SIGKILL)
    shutil.rmtree(ours.directory / "three")
    again = ours.start("three", ("one", "two", "three"), "new", waits=False)
    assert again.exit_code() == 1
    assert "has run before" in ours.log("three")
    ours.ok("one", "put", "still", "there")


@pytest.mark.slow  # it tries for ten seconds: a peer may not have heard of it yet
def test_who_was_not_added_does_not_get_in(ours: Servers) -> None:
    ours.found("one")
    stranger = ours.start("two", ("one", "two"), "existing", waits=False)
    assert stranger.exit_code(40) == 1
    assert "no member has the peer URLs" in ours.log("two")


def test_a_lost_cluster_goes_on_from_one_member(ours: Servers) -> None:
    ours.found("one", "two", "three")
    load = Load(ours, "one", "two")
    load.reach(100)
    acknowledged = load.end()
    for name in ("one", "two", "three"):
        ours.end(name, signal.SIGKILL)
    held: dict[str, set[bytes]] = {}
    ours.start("one", ("one", "two", "three"), "new", "--force-new-cluster")
    held["one"] = keys(ours, "one")
    assert len(ours.members("one")) == 1
    assert len(set(acknowledged) - held["one"]) <= 1  # the last entry may have been on the other two only
    ours.ok("one", "put", "again", "1")
    ours.end("one")
    ours.start("one", ("one",), "existing")
    ours.add("one", "four")
    ours.start("four", ("one", "four"), "existing")
    assert ours.ok("four", "get", "again") == "again\n1\n"


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(4))
def test_kill_9_of_all_in_the_middle_of_changes_loses_nothing(ours: Servers, round_: int) -> None:
    names = ("one", "two", "three")
    ours.found(*names)
    leader = ours.leader("one")
    staying = [name for name in names if name != leader]
    load = Load(ours, *names)
    try:
        load.reach(30 + 40 * round_)
        ours.add("one", "four")
        ours.start("four", (*names, "four"), "existing", waits=False)
        request = ("one", "member", "remove", ours.member_id("one", leader))
        removal = threading.Thread(target=ours.etcdctl, args=request)
        removal.start()
        load.reach(1 + 3 * round_)
        for name in list(ours.running):
            ours.end(name, signal.SIGKILL)
        removal.join()
    finally:
        acknowledged = load.end()
    for name in names:
        ours.start(name, names, "new", waits=False)
    ours.start("four", (*names, "four"), "existing", waits=False)
    for name in staying:
        ours.running[name].wait_ready()
        assert set(acknowledged) <= keys(ours, name)
    assert len(ours.members(staying[0])) in (3, 4)


def test_a_member_moves_to_another_peer_url_with_the_flags_it_was_founded_with(ours: Servers) -> None:
    ours.found("one", "two", "three")
    moved = next(name for name in ("two", "three") if name != ours.leader("one"))
    identity = ours.member_id("one", moved)
    ours.peers[moved] = f"http://127.0.0.1:{free_ports(1)[0]}"
    ours.ok("one", "member", "update", identity, f"--peer-urls={ours.peers[moved]}")
    ours.end(moved)
    ours.ok("one", "put", "while", "away")
    ours.start(moved, ("one", "two", "three"), "new")
    assert ours.ok(moved, "get", "while") == "while\naway\n"
    assert ours.member_id(moved, moved) == identity
    ours.until("Leadership transferred", ours.leader("one"), "move-leader", identity)


def move(cluster: Servers, at: str, target: str) -> str:
    """The refusal; etcdctl would ask again and again."""
    request = rpc.MoveLeaderRequest(targetID=int(target, 16)).SerializeToString()
    with grpc.insecure_channel(cluster.endpoint(at)) as channel, pytest.raises(grpc.RpcError) as refusal:
        channel.unary_unary("/etcdserverpb.Maintenance/MoveLeader")(request, timeout=20)
    return f"{refusal.value.code()} {refusal.value.details()}"


def lagging(cluster: Servers) -> list[str]:
    """What is said when leadership is to move to a voter that does not answer, and to one that has to catch up first."""
    cluster.found("one", "two", "three")
    leader = cluster.leader("one")
    names = [name for name in ("one", "two", "three") if name != leader]
    target, other = cluster.member_id(leader, names[0]), cluster.member_id(leader, names[1])
    process = cluster.running[names[0]]
    process.signal(signal.SIGSTOP)
    try:
        said = [move(cluster, leader, target)]
        for number in range(30):
            cluster.ok(leader, "put", f"k{number}", "x")
        said.append((cluster.leader(names[1]) == leader and "it still leads") or "it does not lead")
    finally:
        process.signal(signal.SIGCONT)
    for _ in range(100):  # it may find the order to lead in its socket, and follow it without being asked again
        if (leader := cluster.leader(names[1])) == names[0]:
            break
        cluster.etcdctl(leader, "--command-timeout=1s", "move-leader", target)
    said.append(move(cluster, names[0], "abc"))
    said.append(move(cluster, names[1], other))
    return said


@pytest.mark.slow
@needs_etcd
def test_leadership_moves_to_a_lagging_voter_when_it_has_caught_up_and_else_fails_as_in_etcd(tmp_path: Path) -> None:
    with servers(OURS, tmp_path / "ours") as cluster:
        ours = lagging(cluster)
    with servers(THEIRS, tmp_path / "theirs") as cluster:
        theirs = lagging(cluster)
    assert ours[0] == "StatusCode.UNKNOWN etcdserver: request timed out, leader transfer took too long"
    assert ours[1:] == theirs[1:]  # etcd says the same, but only when the client's own deadline is over
