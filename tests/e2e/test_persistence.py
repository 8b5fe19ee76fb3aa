"""`down` and `up`: everything is still there, and `down` leaves no process."""

import base64
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e


def test_everything_is_there_after_down_and_up(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "kept")
    cluster.kubectl("create", "deployment", "kept", "-n", "kept", "--image=x", "--replicas=2", "--", "sleep", "600")
    cluster.kubectl("rollout", "status", "deployment/kept", "-n", "kept", "--timeout=60s")
    before = cluster.get("deployment", "kept", "-n", "kept")["metadata"]["uid"]
    cluster.pilothouse("down")
    assert not cluster.marked_processes()
    cluster.pilothouse("up")
    assert cluster.get("deployment", "kept", "-n", "kept")["metadata"]["uid"] == before
    eventually(
        "its pods run again",
        lambda: cluster.get("deployment", "kept", "-n", "kept")["status"].get("readyReplicas") == 2,
        60,
    )
    cluster.kubectl("delete", "namespace", "kept", "--wait=true", "--timeout=60s")


@pytest.mark.own_store
def test_the_files_of_all_members_hold_no_secret_in_plain(cluster: Cluster) -> None:
    word = "as plain as can be"
    cluster.kubectl("create", "secret", "generic", "sealed", f"--from-literal=word={word}")
    cluster.kubectl("create", "configmap", "unsealed", "--from-literal=word=this is found")
    try:
        members = [cluster.data_dir / "kv" / f"kv-{index}" for index in range(cluster.plan.member_count)]

        def stored(folder: Path) -> bytes:
            return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

        eventually("all members have it", lambda: all(b"this is found" in stored(each) for each in members))
        everything = b"".join(map(stored, members))
        assert b"k8s:enc:aesgcm:v1:key1:" in everything
        assert word.encode() not in everything and base64.b64encode(word.encode()) not in everything
    finally:
        cluster.kubectl("delete", "secret/sealed", "configmap/unsealed")
