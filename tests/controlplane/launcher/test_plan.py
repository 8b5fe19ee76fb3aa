"""The plan of a cluster: addresses never collide, and what was made once is found again."""

import ipaddress

import pytest

from controlplane.launcher.plan import Plan, StorePlan, plan_from_document
from controlplane.launcher.state import LauncherError


@pytest.mark.parametrize("plan", [Plan(), Plan(masters=9, nodes=100), StorePlan(members=9)])
def test_no_two_listeners_share_an_address(plan: Plan | StorePlan) -> None:
    addresses = list(plan.addresses())
    assert len(addresses) == len(set(addresses))


def test_the_ranges_of_a_cluster_do_not_overlap() -> None:
    plan = Plan(nodes=100)
    pods = [ipaddress.ip_network(plan.pod_range(index)) for index in range(plan.nodes)]
    ranges = [*pods, ipaddress.ip_network(plan.load_balancer_range)]
    services = ipaddress.ip_network(plan.service_range)
    assert all(not left.overlaps(right) for i, left in enumerate(ranges) for right in ranges[i + 1 :])
    assert all(not services.overlaps(item) for item in ranges)
    assert ipaddress.ip_address(plan.kubernetes_service) == services.network_address + 1
    assert all(address.is_loopback for item in (*ranges, services) for address in (item[0], item[-1]))


@pytest.mark.parametrize("plan", [Plan(masters=1, nodes=5, base_port=7000), StorePlan(members=5, base_port=4000)])
def test_a_plan_survives_its_document(plan: Plan | StorePlan) -> None:
    assert plan_from_document(plan.to_document()) == plan


@pytest.mark.parametrize(
    "options", [{"masters": 0}, {"masters": 10}, {"nodes": -1}, {"base_port": 80}, {"base_port": 65500}]
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, int]) -> None:
    with pytest.raises(LauncherError, match="--" + next(iter(options)).replace("_", "-")):
        Plan(**options)


@pytest.mark.parametrize("document", [{"kind": "cluster", "colour": 1}, {"kind": "zoo"}, {}])
def test_a_document_of_another_version_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(LauncherError, match="pilothouse reset"):
        plan_from_document(document)


def test_a_cluster_of_an_older_version_keeps_its_plain_store() -> None:
    document = Plan(masters=1).to_document()
    del document["store_tls"]
    kept = plan_from_document(document)
    assert kept.store_endpoints[0].startswith("http://")
    assert Plan(masters=1).store_endpoints[0].startswith("https://")
