"""A value flipped on one member's disk, under its state: the others notice, name it, and give it theirs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.test_damage import flip
from tests.kvstore.api.processes import needs_etcdctl
from tests.kvstore.membership.servers import OURS, Servers, servers

pytestmark = [needs_etcdctl, pytest.mark.e2e]
NAMES = ("one", "two", "three")
VALUE = "a-value-like-no-other"


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Servers]:
    with servers(OURS, tmp_path) as cluster:
        yield cluster


def hashes(cluster: Servers, at: str) -> int:
    return int(json.loads(cluster.ok(at, "endpoint", "hashkv", "-w", "json"))[0]["HashKV"]["hash"])


@pytest.mark.parametrize("flag", [
    "--corrupt-check-time=1s",
    pytest.param("--experimental-corrupt-check-time=1s", marks=pytest.mark.slow),
    pytest.param("--experimental-initial-corrupt-check", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_value_flipped_under_the_state_raises_the_alarm_for_its_member_and_is_mended(ours: Servers, flag: str) -> None:
    ours.found(*NAMES, flags=(flag,))
    ours.ok("one", "put", "k0", VALUE)
    bad = next(name for name in NAMES if name != ours.leader("one"))
    good = next(name for name in NAMES if name != bad)
    guilty = ours.member_id("one", bad)
    ours.until(VALUE, bad, "get", "k0")
    ours.end(bad)
    assert flip(ours.directory / bad / "state", VALUE.encode()) > 0
    ours.start(bad, NAMES, "new", flag)
    ours.until(f"memberID:{int(guilty, 16)} alarm:CORRUPT", good, "alarm", "list")
    assert "corrupt cluster" in ours.refused(good, "put", "k", "v")
    ours.end(bad)  # the remedy that docs/operations.md tells
    shutil.rmtree(ours.directory / bad / "state")
    ours.start(bad, NAMES, "new", flag)
    ours.ok(good, "alarm", "disarm")
    ours.until("OK", bad, "put", "k", "v")
    assert hashes(ours, bad) == hashes(ours, good)
    assert VALUE in ours.ok(bad, "get", "k0", "--consistency=s")
