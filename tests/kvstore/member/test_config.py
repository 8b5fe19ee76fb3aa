"""MemberConfig: etcd's flags, ids and refusals."""

from pathlib import Path

import pytest

from kvstore.member.config import MemberConfig
from kvstore.storage.data_dir import Identity


def test_the_ids_are_those_that_etcd_derives() -> None:
    config = MemberConfig()
    assert f"{config.member_id:x}" == "8e9e05c52164694d"  # known to everyone who ever started etcd without flags
    assert f"{config.cluster_id:x}" == "cdf818194e3a8c32"


def test_flags_have_etcds_names() -> None:
    config = MemberConfig.from_flags({
        "name": "two",
        "data-dir": "somewhere",
        "initial-cluster": "one=http://10.0.0.1:2380,two=http://10.0.0.2:2380,two=http://10.1.0.2:2380",
        "initial-advertise-peer-urls": "http://10.0.0.2:2380,http://10.1.0.2:2380",
        "heartbeat-interval": "50",
        "election-timeout": "500",
        "snapshot-count": "7",
        "snapshot-catchup-entries": "3",
        "quota-backend-bytes": "1000",
        "client-cert-auth": "true",
    })
    assert config.data_dir == Path("somewhere")
    assert (config.tick_seconds, config.election_ticks, config.request_timeout_seconds) == (0.05, 10, 6.0)
    assert (config.snapshot_count, config.snapshot_catchup_entries, config.quota_backend_bytes) == (7, 3, 1000)
    assert config.client_cert_auth
    assert [info.name for info in sorted(config.initial_members(), key=lambda info: info.name)] == ["one", "two"]


def test_the_order_of_the_initial_cluster_does_not_matter() -> None:
    pairs = (("default", "http://localhost:2380"), ("b", "http://b:2380"), ("c", "http://c:2380"))
    first, second = MemberConfig(initial_cluster=pairs), MemberConfig(initial_cluster=pairs[::-1])
    assert (first.cluster_id, first.initial_members()) == (second.cluster_id, second.initial_members())


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"name": "x", "initial-cluster": "y=http://localhost:2380"}, "couldn't find local name 'x'"),
        ({"initial-cluster": "default=http://localhost:1"}, "--initial-advertise-peer-urls has"),
        ({"initial-cluster": "default"}, "where name=URL is needed"),
        ({"initial-cluster-state": "old"}, "must be new or existing"),
        ({"election-timeout": "100"}, "at least 5 times heartbeat-interval"),
        ({"snapshot-count": "many"}, "--snapshot-count must be a number"),
        ({"client-cert-auth": "perhaps"}, "--client-cert-auth must be true or false"),
        ({"no-such-flag": "1"}, "unknown flag: --no-such-flag"),
    ],
)
def test_what_does_not_fit_together_is_refused(flags: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MemberConfig.from_flags(flags)


def test_a_directory_is_a_member_s_own_at_its_url_or_at_another_but_not_that_of_another_cluster() -> None:
    def config(*ports: int) -> MemberConfig:
        urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(("one", "two", "three"), ports, strict=True)}
        return MemberConfig(name="one", initial_cluster=tuple(urls.items()), initial_advertise_peer_urls=(urls["one"],))

    founded = config(1, 2, 3)
    known = Identity(founded.cluster_id, founded.member_id, "one")
    assert founded.is_own(known)
    assert config(7, 2, 3).is_own(known)  # moved
    assert config(1, 2, 7).is_own(known)  # another member moved
    assert not config(7, 8, 9).is_own(known)


def test_what_is_recovered_from_peers_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="recover-from-peers"):
        MemberConfig(recover_from_peers="maybe")
