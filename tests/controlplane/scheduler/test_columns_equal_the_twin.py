"""The decision by columns is the decision of the slow, obvious twin, on random clusters and after random histories."""

from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.scheduler.cluster import ClusterState
from controlplane.scheduler.framework import Decision, Framework
from controlplane.scheduler.plugins import DEFAULT_PROFILE
from controlplane.scheduler.podinfo import read_pod
from tests.controlplane.scheduler.clusters import clusters, nodes, pods
from tests.controlplane.scheduler.twin import Twin

Object = dict[str, Any]
FRAMEWORK = Framework(DEFAULT_PROFILE)


def build(members: list[Object], placed: list[Object]) -> ClusterState:
    state = ClusterState()
    for node in members:
        state.set_node(node)
    for pod in placed:
        state.place(read_pod(pod))
    return state


def assert_same(decision: Decision, twin: Twin, pod: Object) -> None:
    refused = {node["metadata"]["name"]: twin.refusals(pod, node) for node in twin.nodes}
    expected = {name: reasons for name, reasons in refused.items() if reasons}
    assert {name: tuple(sorted(reasons)) for name, reasons in decision.reasons().items()} == expected
    assert decision.node_count == len(twin.nodes)
    scores = twin.scores(pod)
    if not scores:
        assert decision.node == ""
        return
    assert scores[decision.node] == max(scores.values())
    if decision.scores:
        # A plugin without an opinion gives every node the same; the twin's constant must not matter either.
        ours = {name: sum(decision.score_of(name).values()) for name in scores}
        highest, twin_highest = max(ours.values()), max(scores.values())
        assert {n: s - highest for n, s in ours.items()} == {n: s - twin_highest for n, s in scores.items()}


@settings(max_examples=250, deadline=None)
@given(clusters(), pods(), st.integers())
def test_a_decision_names_the_twins_reasons_and_a_best_node(
    cluster: tuple[list[Object], list[Object]], pod: Object, seed: int
) -> None:
    members, placed = cluster
    decision = FRAMEWORK.decide(read_pod(pod), build(members, placed).nodes, Random(seed))
    assert_same(decision, Twin(members, placed), pod)


@settings(max_examples=100, deadline=None)
@given(clusters(max_nodes=20), st.data())
def test_columns_after_a_history_are_those_of_a_fresh_cluster(
    cluster: tuple[list[Object], list[Object]], data: st.DataObject
) -> None:
    members, placed = cluster
    state = build(members, placed)
    alive = {node["metadata"]["name"]: node for node in members}
    on = {read_pod(pod).key: pod for pod in placed}
    for number in range(data.draw(st.integers(0, 12))):
        what = data.draw(
            st.sampled_from(["node goes", "node comes", "pod goes", "assume", "assume and forget", "confirm"])
        )
        if what == "node goes" and alive:
            name = data.draw(st.sampled_from(sorted(alive)))
            del alive[name]
            state.remove_node(name)
        elif what == "node comes":
            node = data.draw(nodes(data.draw(st.sampled_from(["node-0", "node-1", "node-99"]))))
            alive[node["metadata"]["name"]] = node
            state.set_node(node)
        elif what == "pod goes" and on:
            key = data.draw(st.sampled_from(sorted(on)))
            del on[key]
            state.remove(key)
        elif alive:
            pod = data.draw(pods(f"more-{number}", tuple(sorted(alive))))
            info = read_pod(pod)
            state.assume(info, info.node_name)
            if what == "assume and forget":
                state.forget(info.key)
            else:
                on[info.key] = pod
                if what == "confirm":
                    state.place(info)
    pod = data.draw(pods())
    decision = FRAMEWORK.decide(read_pod(pod), state.nodes, Random(1))
    assert_same(decision, Twin(list(alive.values()), list(on.values())), pod)
    assert state.nodes.count == len(alive) == int(np.count_nonzero(state.nodes.alive))


@given(clusters(), pods())
def test_a_decision_does_not_change_when_the_cluster_does(
    cluster: tuple[list[Object], list[Object]], pod: Object
) -> None:
    members, placed = cluster
    state = build(members, placed)
    decision = FRAMEWORK.decide(read_pod(pod), state.nodes, Random(1))
    before = decision.reasons(), decision.node_count
    for node in members:
        state.remove_node(node["metadata"]["name"])
    assert (decision.reasons(), decision.node_count) == before
