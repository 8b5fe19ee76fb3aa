"""Bytes flipped in the pages of the state: meta, branch and leaf pages, the list of free ones. LMDB checks none of them.

The member serves what is right, or its alarm is raised, or it ends; and it never ends again and again.
"""

import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import grpc
import pytest

from kvstore.mvcc import layout
from kvstore.storage import crashes
from kvstore.storage.lmdb_store import LmdbStore, check_pages
from kvstore.storage.port import DamagedStore
from tests.durability.test_rejoin import NAMES, READY, follower, loaded
from tests.kvstore.api.processes import needs_etcdctl
from tests.kvstore.membership.load import keys
from tests.kvstore.membership.servers import OURS, Servers, servers

PAGE_BYTES = 4096
KINDS = {"branch": 0x01, "leaf": 0x02, "meta": 0x08}
MOST_STARTS = 5
MOST_LOOKS = 300
FLAGS = ("--experimental-initial-corrupt-check", "--corrupt-check-time=1s")
PLACES = [("branch", 1), ("meta", 2)]
MORE_PLACES = [(kind, seed) for kind in KINDS for seed in range(10, 18)]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(OURS, tmp_path_factory.mktemp("pages"), flags=FLAGS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def acknowledged(ours: Servers) -> set[bytes]:
    return set(loaded(ours, 700))


def damage(file: Path, kind: str, random: Random) -> int:
    """Flip a bit in the head or among the first pointers of every page of a kind; return how many pages those were."""
    data = bytearray(file.read_bytes())
    count = 0
    for start in range(0, len(data) - PAGE_BYTES + 1, PAGE_BYTES):
        if struct.unpack_from("<H", data, start + 10)[0] & 0x0F == KINDS[kind]:
            data[start + random.randrange(8 if kind != "meta" else 16, 160)] ^= 1 << random.randrange(8)
            count += 1
    file.write_bytes(data)
    return count


def becomes_right(cluster: Servers, name: str, right: set[bytes], alarm_at: str) -> bool | None:
    """Start it and look until it serves what is right. False: an alarm says that it does not; None: it has ended."""
    process = cluster.start(name, NAMES, "new", waits=False)
    is_ready = process.reaches(READY)
    for _ in range(MOST_LOOKS):
        if not is_ready or process.has_ended():
            assert process.exit_code() != 0
            return None
        try:
            if keys(cluster, name, serializable=True) == right:
                return True
        except grpc.RpcError:
            continue  # it has met a damaged page, or is being made anew
        if "alarm:CORRUPT" in cluster.ok(alarm_at, "alarm", "list"):
            return False
    raise AssertionError(f"wrong, and nobody says so: {cluster.log(name)[-3000:]}")


def check(cluster: Servers, acknowledged: set[bytes], kind: str, seed: int) -> None:
    bad = follower(cluster)
    good = next(name for name in NAMES if name != bad)
    cluster.ok(bad, "alarm", "disarm")  # one of the test before may have come late
    cluster.until("OK", bad, "put", "last", "1")
    right = keys(cluster, good)
    assert acknowledged <= right
    cluster.end(bad)
    assert damage(cluster.directory / bad / "state" / "data.mdb", kind, Random(seed)) > 0
    for _ in range(MOST_STARTS):
        outcome = becomes_right(cluster, bad, right, good)
        if outcome:
            break
        cluster.end(bad, signal.SIGKILL)
        if outcome is False:  # the remedy that docs/operations.md tells
            shutil.rmtree(cluster.directory / bad / "state")
    else:
        raise AssertionError(f"it ends again and again: {cluster.log(bad)[-3000:]}")
    cluster.ok(good, "alarm", "disarm")
    cluster.until("OK", bad, "put", "last", "2")
    assert keys(cluster, bad) == right


@needs_etcdctl
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [*PLACES, *MORE_PLACES])
def test_a_member_with_flipped_pages_is_right_or_mended(
    ours: Servers, acknowledged: set[bytes], kind: str, seed: int
) -> None:
    check(ours, acknowledged, kind, seed)


def test_pages_that_kill_who_reads_them_are_found_by_another_process(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, layout.TABLES)
    for number in range(2000):
        transaction = store.begin()
        transaction.put(layout.TABLES[0], b"key-%06d" % number, b"v" * 100)
        transaction.commit()
    store.close()
    check_pages(tmp_path, layout.TABLES)
    file = tmp_path / "data.mdb"
    whole = file.read_bytes()
    refused = 0
    for seed in range(10):
        assert damage(file, "branch", Random(seed)) > 0
        try:
            check_pages(tmp_path, layout.TABLES)
        except DamagedStore:
            refused += 1
        file.write_bytes(whole)
    assert refused > 5  # the other bits mean nothing


def test_a_note_of_a_crash_stays_until_a_clean_end(tmp_path: Path) -> None:
    note = tmp_path / "crashes"
    program = (
        "import ctypes, sys; from pathlib import Path; from kvstore.storage import crashes\n"
        "with crashes.noting(Path(sys.argv[1])):\n    sys.argv[2] == 'well' or ctypes.string_at(1)\n"
    )

    def run(how: str) -> int:
        return subprocess.run([sys.executable, "-c", program, str(note), how], check=False, capture_output=True).returncode

    assert crashes.count(note) == 0
    assert run("badly") == -signal.SIGSEGV
    assert run("badly") == -signal.SIGSEGV
    assert crashes.count(note) == 2
    assert run("well") == 0
    assert crashes.count(note) == 0
