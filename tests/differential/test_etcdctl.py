"""The same etcdctl commands against a real etcd and ours: the same output and exit code."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.differential.arena import PROGRAMS, running
from tests.kvstore.api.processes import ETCDCTL, ROOT

CLIENTS = {"etcd 3.4": ETCDCTL, "etcd 3.5": str(ROOT / ".venv" / "tools" / "etcdctl-3.5")}

COMMANDS = """
put a 1
put b 2 --prev-kv
put a 9 --prev-kv
put a --ignore-value
put none --ignore-value
get a -w json
get a b --print-value-only
get "" --prefix --keys-only
get "" --from-key --count-only -w fields
get a --rev 2
get a --rev 99
get "" --prefix --order DESCEND --sort-by VALUE --limit 1
get
del b --prev-kv
del none
txn < value("a") = "9"||put a 2|get a||del a|
txn < version("a") > "7"||put a 2||get a|
del "" --prefix
lease timetolive 1
lease revoke 1
lease list
compaction 3
compaction 3
compaction 99
alarm list
alarm disarm
defrag
endpoint health
endpoint hashkv
member list
member remove 1
member promote 1
member update 1 --peer-urls=http://127.0.0.1:5
member add new --peer-urls=nonsense
move-leader 1
user list
user add u:p
user add u:p
user get u
role add r
role add r
role grant-permission r read a
role grant-permission r readwrite b c
role grant-permission r write d --prefix
role get r
user grant-role u r
user get u --detail
user revoke-role u r
role revoke-permission r a
role revoke-permission r zz
role list
role delete r
user delete u
user delete u
auth enable
auth disable
lease grant 60
lease list
lock --ttl 5 mutex -- /bin/echo locked
endpoint status -w fields
role add root
user add root:r
user grant-role root root
auth enable
get a
--user root:r get a
--user root:bad get a
--user root:r user add u:p
--user root:r role add reader
--user root:r role grant-permission reader read a
--user root:r user grant-role u reader
--user u:p get a
--user u:p put a 1
--user u:p get b
--user u:p user list
--user root:r alarm list
--user root:r auth disable
get a
"""

# ids, hashes, terms, times, ports and the client's own log differ between any two servers
OWN = [
    (re.compile(r"^\{\"level\":.*$", re.M), ""),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"took = [\d.]+\S*"), "TIME"),
    (re.compile(r"(raft_term|RaftTerm)\W+\d+"), r"\1"),
    (re.compile(r'"(Version|DBSize|RaftIndex|RaftAppliedIndex)" : \S+'), r"\1"),
    (re.compile(r"\b[0-9a-f]{6,}\b"), "ID"),
    (re.compile(r"(ADDRESS, )\d+$", re.M), r"\1HASH"),
]


def ask(client: str, endpoint: str, command: str) -> tuple[int, str]:
    """Return the exit code and the output of one command, without what is the server's own."""
    arguments, _, typed = command.partition(" < ")
    done = subprocess.run(
        [client, "--endpoints", endpoint, *shlex.split(arguments)], input=typed.replace("|", "\n"), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, env={"ETCDCTL_API": "3"},
    )  # fmt: skip
    said = done.stdout
    for pattern, instead in OWN:
        said = pattern.sub(instead, said)
    return done.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize("peer", CLIENTS)
def test_etcdctl_cannot_tell_the_difference(peer: str, tmp_path: Path) -> None:
    client = CLIENTS[peer]
    if not Path(client).exists() or not Path(PROGRAMS[peer][0]).exists():
        pytest.skip(f"{peer} or its etcdctl is not installed (make tools)")
    with running(peer, tmp_path) as theirs, running("ours", tmp_path) as ours:
        for command in COMMANDS.strip().splitlines():
            assert ask(client, ours, command) == ask(client, theirs, command), command
