"""Random small clusters for the property tests: few names and values, so that matches and conflicts are common."""

from typing import Any

from hypothesis import strategies as st

Object = dict[str, Any]

KEYS = st.sampled_from(["disk", "zone", "generation"])
VALUES = st.sampled_from(["a", "b", "7", "12", ""])
EFFECTS = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=3)
CPU = st.sampled_from(["0", "100m", "250m", "1", "1500m", "4"])
MEMORY = st.sampled_from(["0", "64Mi", "200Mi", "1Gi", "4Gi"])
GPU = st.sampled_from(["0", "1", "2"])


def _without_none(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if value is not None}


TAINTS = st.lists(
    st.builds(lambda k, v, e: {"key": k, "value": v, "effect": e}, KEYS, VALUES, EFFECTS),
    max_size=3,
    unique_by=lambda taint: (taint["key"], taint["effect"]),
)
TOLERATIONS = st.lists(
    st.builds(
        lambda k, o, v, e: _without_none({"key": k, "operator": o, "value": None if o == "Exists" else v, "effect": e}),
        st.one_of(st.none(), KEYS),
        st.sampled_from(["Exists", "Equal"]),
        VALUES,
        st.one_of(st.none(), EFFECTS),
    ),
    max_size=3,
)
REQUIREMENTS = st.one_of(
    st.builds(
        lambda k, o, v: {"key": k, "operator": o, "values": v},
        KEYS,
        st.sampled_from(["In", "NotIn"]),
        st.lists(VALUES, min_size=1, max_size=2, unique=True),
    ),
    st.builds(lambda k, o: {"key": k, "operator": o}, KEYS, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(lambda k, o, v: {"key": k, "operator": o, "values": [v]}, KEYS, st.sampled_from(["Gt", "Lt"]), VALUES),
)
TERMS = st.builds(lambda e: {"matchExpressions": e}, st.lists(REQUIREMENTS, max_size=2))
NODE_AFFINITY = st.builds(
    lambda required, preferred: _without_none(
        {
            "requiredDuringSchedulingIgnoredDuringExecution": required and {"nodeSelectorTerms": required},
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    ),
    st.one_of(st.none(), st.lists(TERMS, min_size=1, max_size=2)),
    st.lists(st.builds(lambda w, t: {"weight": w, "preference": t}, st.integers(1, 100), TERMS), max_size=2),
)
HOST_PORTS = st.lists(
    st.builds(
        lambda port, protocol, address: _without_none(
            {"containerPort": 1, "hostPort": port, "protocol": protocol, "hostIP": address}
        ),
        st.sampled_from([80, 443]),
        st.sampled_from(["TCP", "UDP"]),
        st.sampled_from([None, "0.0.0.0", "127.1.0.1", "127.1.0.2"]),
    ),
    max_size=1,
)
REQUESTS = st.builds(
    lambda cpu, memory, gpu: _without_none({"cpu": cpu, "memory": memory, "example.com/gpu": gpu}),
    st.one_of(st.none(), CPU),
    st.one_of(st.none(), MEMORY),
    st.one_of(st.none(), GPU),
)
CONTAINERS = st.lists(
    st.builds(lambda r, p: {"name": "c", "resources": {"requests": r}, "ports": p}, REQUESTS, HOST_PORTS),
    min_size=1,
    max_size=2,
)


@st.composite
def pods(draw: st.DrawFn, name: str = "new", node_names: tuple[str, ...] = ()) -> Object:
    """A pod; placed on one of the nodes when there are any, else waiting."""
    spec: Object = {"containers": draw(CONTAINERS)}
    if node_names:
        spec["nodeName"] = draw(st.sampled_from(node_names))
    else:
        spec["tolerations"] = draw(TOLERATIONS)
        spec["nodeSelector"] = draw(st.one_of(st.just({}), LABELS))
        spec["affinity"] = {"nodeAffinity": draw(NODE_AFFINITY)}
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "spec": spec}


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Object:
    """A node with a little of everything."""
    gpu = draw(st.one_of(st.none(), GPU))
    allocatable = {"cpu": draw(CPU), "memory": draw(MEMORY), "pods": draw(st.sampled_from(["0", "2", "110"]))}
    if gpu is not None:
        allocatable["example.com/gpu"] = gpu
    return {
        "metadata": {"name": name, "labels": draw(LABELS)},
        "spec": {"taints": draw(TAINTS), "unschedulable": draw(st.integers(0, 9)) == 0},
        "status": {"allocatable": allocatable},
    }


@st.composite
def clusters(draw: st.DrawFn, max_nodes: int = 6, max_pods: int = 8) -> tuple[list[Object], list[Object]]:
    """(nodes, placed pods)."""
    names = tuple(f"node-{number}" for number in range(draw(st.integers(1, max_nodes))))
    members = [draw(nodes(name)) for name in names]
    placed = [draw(pods(f"old-{number}", names)) for number in range(draw(st.integers(0, max_pods)))]
    return members, placed
