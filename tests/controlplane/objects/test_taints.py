"""Tolerations, and which nodes a pod may run on."""

import pytest

from controlplane.objects import taints

TAINT = {"key": "disk", "value": "slow", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"key": "disk", "value": "slow"}, True),
        ({"key": "disk", "value": "fast"}, False),
        ({"key": "disk", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "disk", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "disk", "value": "slow", "effect": "NoSchedule"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({}, False),
    ],
)
def test_a_toleration_tolerates_what_it_names(toleration: dict[str, str], expected: bool) -> None:
    assert taints.tolerates(toleration, TAINT) is expected


def test_the_first_untolerated_taint_ignores_soft_ones() -> None:
    soft = {"key": "x", "effect": "PreferNoSchedule"}
    assert taints.first_untolerated([soft, TAINT], []) == TAINT
    assert taints.first_untolerated([soft], []) is None
    assert taints.first_untolerated([TAINT], [{"operator": "Exists"}]) is None


def test_no_execute_taints_give_a_pod_the_least_time_it_tolerates() -> None:
    taint = {"key": taints.NOT_READY, "effect": "NoExecute"}
    assert taints.toleration_seconds([taint], []) == 0
    assert taints.toleration_seconds([TAINT], []) is None
    forever = {"key": taints.NOT_READY, "operator": "Exists"}
    assert taints.toleration_seconds([taint], [forever]) is None
    assert taints.toleration_seconds([taint], [forever, {**forever, "tolerationSeconds": 300}]) == 300
    assert taints.toleration_seconds([taint], [{**forever, "tolerationSeconds": -1}]) == 0


def node(name: str, **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": labels}}


def test_node_selector_and_required_affinity_must_both_hold() -> None:
    required = {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["special"]}]},
            {},
        ]
    }
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    pod = {"spec": {"nodeSelector": {"disk": "ssd"}, "affinity": affinity}}
    assert taints.pod_fits_node(pod, node("n", zone="a", disk="ssd"))
    assert taints.pod_fits_node(pod, node("special", zone="b", disk="ssd"))
    assert not taints.pod_fits_node(pod, node("n", zone="b", disk="ssd"))
    assert not taints.pod_fits_node(pod, node("n", zone="a"))
    assert taints.pod_fits_node({"spec": {}}, node("n"))


def test_preferred_terms_add_their_weights() -> None:
    def term(weight: int, operator: str, *values: str) -> dict[str, object]:
        expression = {"key": "cpus", "operator": operator, "values": list(values)}
        return {"weight": weight, "preference": {"matchExpressions": [expression]}}

    preferred = [term(5, "Gt", "4"), term(7, "Lt", "4"), term(1, "Exists"), term(9, "NotIn", "8")]
    pod = {"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}}
    assert taints.preferred_score(pod, node("n", cpus="8")) == 6
    assert taints.preferred_score(pod, node("n")) == 9
