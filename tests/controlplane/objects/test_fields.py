"""Fields that a selector may name."""

import pytest

from controlplane.objects import fields
from controlplane.objects.kinds import CONFIG_MAPS, EVENTS, JOBS, NODES, PODS
from controlplane.objects.selectors import SelectorError, parse_fields


def test_pods_are_found_by_node_and_by_phase() -> None:
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "a"}, "status": {"phase": "Running"}}
    read = fields.reader(PODS, pod)
    for text, expected in [
        ("spec.nodeName=a", True), ("spec.nodeName=", False), ("status.phase!=Running", False),
        ("metadata.name=p,metadata.namespace=n", True), ("spec.hostNetwork=false", True), ("status.podIP=", True),
    ]:  # fmt: skip
        selector = parse_fields(text)
        fields.check(PODS, selector)
        assert selector.matches(read) is expected


def test_absent_values_read_as_their_zero() -> None:
    assert fields.reader(NODES, {})("spec.unschedulable") == "false"
    assert fields.reader(JOBS, {"status": {"succeeded": 2}})("status.successful") == "2"
    assert fields.reader(EVENTS, {"source": {"component": "kubelet"}})("source") == "kubelet"
    assert fields.reader(EVENTS, {"reportingComponent": "kubelet"})("source") == "kubelet"


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(SelectorError, match=r"field label not supported: data\.a"):
        fields.check(CONFIG_MAPS, parse_fields("data.a=1"))
