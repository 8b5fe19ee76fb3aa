"""The node graph against a dumb twin that looks at every pod and volume again for each question."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.authz import references
from controlplane.apiserver.authz.graph import ATTACHMENT, POD, VOLUME, Graph

Object = dict[str, Any]

NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["x", "y"])


@st.composite
def pods(draw: st.DrawFn) -> Object:
    volumes: list[Object] = []
    for kind in draw(st.lists(st.sampled_from(["secret", "configMap", "claim", "ephemeral"]), max_size=3)):
        name = draw(NAMES)
        source: Object = {
            "secret": {"secret": {"secretName": name}},
            "configMap": {"configMap": {"name": name}},
            "claim": {"persistentVolumeClaim": {"claimName": name}},
            "ephemeral": {"ephemeral": {}},
        }[kind]
        volumes.append({"name": "v", **source})
    env = (
        [{"name": "E", "valueFrom": {"secretKeyRef": {"name": draw(NAMES), "key": "k"}}}] if draw(st.booleans()) else []
    )
    metadata: Object = {"namespace": draw(NAMESPACES), "name": draw(NAMES), "uid": draw(NAMES)}
    if draw(st.integers(0, 5)) == 0:
        metadata["annotations"] = {"kubernetes.io/config.mirror": "x"}
    spec: Object = {"containers": [{"name": "c", "env": env}], "volumes": volumes, "serviceAccountName": draw(NAMES)}
    if draw(st.booleans()):
        spec["nodeName"] = draw(NAMES)
    return {"metadata": metadata, "spec": spec}


@st.composite
def volumes(draw: st.DrawFn) -> Object:
    spec: Object = {}
    if draw(st.booleans()):
        spec["claimRef"] = {"namespace": draw(NAMESPACES), "name": draw(NAMES)}
    if draw(st.booleans()):
        spec["csi"] = {"nodePublishSecretRef": {"namespace": draw(NAMESPACES), "name": draw(NAMES)}}
    return {"metadata": {"name": draw(NAMES)}, "spec": spec}


@st.composite
def attachments(draw: st.DrawFn) -> Object:
    return {"metadata": {"name": draw(NAMES)}, "spec": {"nodeName": draw(NAMES)}}


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just(POD), pods(), st.booleans()),
        st.tuples(st.just(VOLUME), volumes(), st.booleans()),
        st.tuples(st.just(ATTACHMENT), attachments(), st.booleans()),
    ),
    max_size=25,
)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _reaches(state: dict[str, dict[tuple[str, str], Object]], node: str, vertex: tuple[str, str, str]) -> bool:
    kind, namespace, name = vertex
    mine = [pod for pod in state[POD].values() if pod["spec"].get("nodeName") == node]

    def used(plural: str, where: str, what: str) -> bool:
        return any(pod["metadata"]["namespace"] == where and (plural, what) in references.of_pod(pod) for pod in mine)

    def volume_used(volume: Object) -> bool:
        claim = volume["spec"].get("claimRef")
        return bool(claim) and used("persistentvolumeclaims", claim["namespace"], claim["name"])

    if kind == POD:
        return any(_key(pod) == (namespace, name) for pod in mine)
    if kind == VOLUME:
        return any(volume["metadata"]["name"] == name and volume_used(volume) for volume in state[VOLUME].values())
    if kind == ATTACHMENT:
        return any(
            each["metadata"]["name"] == name and each["spec"]["nodeName"] == node for each in state[kind].values()
        )
    if kind == "secrets":
        for volume in state[VOLUME].values():
            secret = (volume["spec"].get("csi") or {}).get("nodePublishSecretRef")
            if secret == {"namespace": namespace, "name": name} and volume_used(volume):
                return True
    return used(kind, namespace, name)


@given(EVENTS)
def test_the_graph_says_what_looking_at_everything_says(events: list[tuple[str, Object, bool]]) -> None:
    graph = Graph()
    state: dict[str, dict[tuple[str, str], Object]] = {POD: {}, VOLUME: {}, ATTACHMENT: {}}
    setters = {POD: graph.set_pod, VOLUME: graph.set_volume, ATTACHMENT: graph.set_attachment}
    for kind, obj, gone in events:
        setters[kind](obj, gone=gone)
        if gone:
            state[kind].pop(_key(obj), None)
        else:
            state[kind][_key(obj)] = obj
    for node in "abc":
        for name in ("a", "b", "c", "a-v"):
            for kind in (VOLUME, ATTACHMENT):
                assert graph.reaches(node, (kind, "", name)) == _reaches(state, node, (kind, "", name))
            for namespace in "xy":
                for kind in (POD, "secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts"):
                    vertex = (kind, namespace, name)
                    assert graph.reaches(node, vertex) == _reaches(state, node, vertex), vertex


def test_every_place_that_names_a_secret_is_followed() -> None:
    pod: Object = {
        "metadata": {"name": "p"},
        "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}, {"configMapRef": {"name": "settings"}}]}],
            "ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "debug"}}}]}],
            "volumes": [
                {
                    "name": "a",
                    "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "m"}}]},
                },
                {"name": "b", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
                {"name": "scratch", "ephemeral": {}},
            ],
        },
    }
    assert references.of_pod(pod) == {
        ("secrets", "pull"),
        ("secrets", "init"),
        ("secrets", "debug"),
        ("secrets", "projected"),
        ("secrets", "csi"),
        ("configmaps", "settings"),
        ("configmaps", "m"),
        ("persistentvolumeclaims", "p-scratch"),
    }
