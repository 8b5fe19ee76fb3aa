"""Pairs of files: a small cluster and a pod in, the decision out. PILOTHOUSE_REWRITE_GOLDEN=1 writes the outputs anew."""

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from controlplane.scheduler import diagnosis
from controlplane.scheduler.cluster import ClusterState
from controlplane.scheduler.framework import Framework
from controlplane.scheduler.plugins import DEFAULT_PROFILE
from controlplane.scheduler.podinfo import read_pod

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".input.yaml") for path in FOLDER.glob("*.input.yaml"))


def decide(case: dict[str, Any]) -> dict[str, Any]:
    state = ClusterState()
    for node in case["nodes"]:
        state.set_node(node)
    for placed in case["placed"]:
        state.place(read_pod(placed))
    pod = read_pod(case["pod"])
    decision = Framework(DEFAULT_PROFILE).decide(pod, state.nodes, Random(0))
    out: dict[str, Any] = {"requests": pod.requests, "node": decision.node}
    if decision.scores:
        out["scores"] = {name: decision.score_of(name) for name in decision.names if name not in decision.reasons()}
    if decision.reasons():
        out["refused"] = {name: list(reasons) for name, reasons in decision.reasons().items()}
    if not decision.node:
        out["message"] = diagnosis.message(pod, decision)
    return out


@pytest.mark.parametrize("case", CASES)
def test_the_decision_is_the_recorded_one(case: str) -> None:
    decision = decide(yaml.safe_load((FOLDER / f"{case}.input.yaml").read_text()))
    expected = FOLDER / f"{case}.output.yaml"
    if os.environ.get("PILOTHOUSE_REWRITE_GOLDEN"):
        expected.write_text(yaml.safe_dump(decision, sort_keys=True, width=1000))
    assert decision == yaml.safe_load(expected.read_text())
