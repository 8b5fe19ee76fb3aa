"""`pilothouse kv restore`: what it makes, what it refuses, and that it leaves nothing half made."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kvstore.member.config import MemberConfig
from kvstore.mvcc import commands, layout
from kvstore.mvcc.state import StateMachine
from kvstore.pb import rpc_pb2 as rpc
from kvstore.restore_command import FIRST_INDEX, FIRST_TERM, restore
from kvstore.storage.data_dir import DataDirectory
from kvstore.storage.etcd_snapshot import EtcdSnapshot
from kvstore.storage.file_log import open_log
from kvstore.storage.lmdb_store import LmdbStore
from kvstore.storage.memory import MemoryStore


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot of two versions of one key, and a key of a lease."""
    store = MemoryStore(layout.TABLES)
    state = StateMachine(store)
    grant = rpc.LeaseGrantRequest(ID=7, TTL=100)
    puts = [rpc.PutRequest(key=b"a", value=b"1"), rpc.PutRequest(key=b"a", value=b"2"), rpc.PutRequest(key=b"b", lease=7)]
    state.apply(1, 1, commands.LEASE_GRANT + grant.SerializeToString())
    for index, put in enumerate(puts, 2):
        state.apply(index, 1, commands.PUT + put.SerializeToString())
    made = EtcdSnapshot(state.view())
    for _ in made.prepare():
        pass
    file = tmp_path / "file"
    file.write_bytes(b"".join(made.pieces()))
    made.close()
    return file


CLUSTER = "one=http://127.0.0.1:2380,two=http://127.0.0.2:2380"
FLAGS = ["--name", "one", "--initial-cluster", CLUSTER, "--initial-advertise-peer-urls", "http://127.0.0.1:2380"]


def run(snapshot: Path, directory: Path, *flags: str) -> tuple[int, str]:
    result = CliRunner().invoke(restore, [str(snapshot), "--data-dir", str(directory), *FLAGS, *flags])
    return result.exit_code, result.output


def test_a_member_of_the_new_cluster_begins_after_an_entry_that_stands_for_the_snapshot(
    snapshot: Path, tmp_path: Path
) -> None:
    code, output = run(snapshot, tmp_path / "one", "--bump-revision", "0")
    assert code == 0, output
    assert "restored 3 versions and 1 leases" in output
    config = MemberConfig(
        name="one",
        initial_cluster=tuple((part.split("=")[0], part.split("=")[1]) for part in CLUSTER.split(",")),
        initial_advertise_peer_urls=("http://127.0.0.1:2380",),
    )
    directory = DataDirectory(tmp_path / "one")
    identity = directory.identity()
    assert identity is not None
    assert (identity.member_id, identity.cluster_id, identity.name) == (config.member_id, config.cluster_id, "one")
    store = LmdbStore(directory.state_path, layout.TABLES)
    state = StateMachine(store)
    assert (state.applied_index, state.applied_term, state.revision) == (FIRST_INDEX, FIRST_TERM, 4)
    assert state.lease_keys(7) == [b"b"]
    log = open_log(directory.log_path, state.applied_index)
    restored = log.load(state.applied_index)
    assert restored is not None
    assert (restored.snapshot.index, restored.snapshot.term, restored.entries) == (FIRST_INDEX, FIRST_TERM, ())
    assert set(restored.snapshot.configuration.members()) == set(config.ids.values())
    log.close()
    state.close()
    store.close()
    directory.close()


def test_revisions_are_bumped_unless_told_otherwise(snapshot: Path, tmp_path: Path) -> None:
    assert "at revision 1000000004" in run(snapshot, tmp_path / "a")[1]
    assert "at revision 54" in run(snapshot, tmp_path / "b", "--bump-revision", "50", "--mark-compacted")[1]
    assert "at revision 4" in run(snapshot, tmp_path / "c", "--bump-revision", "0")[1]


def test_a_directory_that_holds_something_is_left_alone(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mine").write_text("keep")
    code, output = run(snapshot, tmp_path / "one")
    assert code == 1
    assert "not empty" in output
    assert [one.name for one in (tmp_path / "one").iterdir()] == ["mine"]


def test_an_empty_directory_is_taken(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert run(snapshot, tmp_path / "one")[0] == 0


def test_a_copied_database_without_a_hash_needs_the_flag(snapshot: Path, tmp_path: Path) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:-32])
    code, output = run(snapshot, tmp_path / "one")
    assert code == 1
    assert "snapshot missing hash but --skip-hash-check=false" in output
    assert run(snapshot, tmp_path / "one", "--skip-hash-check")[0] == 0


@pytest.mark.parametrize("place", [100, 5000, -10])
def test_a_flipped_byte_is_noticed_and_nothing_is_left(snapshot: Path, tmp_path: Path, place: int) -> None:
    content = bytearray(snapshot.read_bytes())
    content[place] ^= 1
    snapshot.write_bytes(bytes(content))
    code, output = run(snapshot, tmp_path / "one")
    assert code == 1
    assert "expected sha256" in output
    assert not list(tmp_path.glob("one*"))


@pytest.mark.parametrize("content", [b"", b"something else" * 1000])
def test_what_is_no_snapshot_is_refused_and_nothing_is_left(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    assert run(file, tmp_path / "one", "--skip-hash-check")[0] == 1
    assert not list(tmp_path.glob("one*"))


def test_what_an_interrupted_restore_left_is_replaced(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "one.restoring" / "state").mkdir(parents=True)
    assert run(snapshot, tmp_path / "one")[0] == 0
    assert not (tmp_path / "one.restoring").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--name", "three"], "couldn't find local name"),
        (["--initial-advertise-peer-urls", "http://127.0.0.9:1"], "--initial-advertise-peer-urls"),
        (["--wal-dir", "elsewhere"], "--wal-dir is not supported"),
        (["--bump-revision", "0", "--mark-compacted"], "--mark-compacted needs"),
    ],
)
def test_flags_that_do_not_fit_are_explained(snapshot: Path, tmp_path: Path, flags: list[str], said: str) -> None:
    code, output = run(snapshot, tmp_path / "one", *flags)
    assert code != 0
    assert said in output
    assert not list(tmp_path.glob("one*"))
