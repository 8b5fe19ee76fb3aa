"""Protobuf bodies: kubectl's own, and round trips through a dumb encoder driven by the same table."""

import base64
import contextlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects import data, protobuf
from controlplane.objects.protobuf import ProtobufError, decode, watch_frame
from controlplane.objects.protobuf.decode import _POINTERS, _SPECIAL
from controlplane.objects.scheme import ResourceInfo, Scheme
from tests.controlplane.objects.samples import sample

# kubectl 1.37: create deployment web --image=nginx --replicas=0 --port=80 -- sh -c hi
DEPLOYMENT = (
    "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EssBCiYKA3dlYhIAGgdkZWZhdWx0IgAqADIAOABCAFoKCgNhcHASA3dlYhKSAQgA"
    "EgwKCgoDYXBwEgN3ZWIaeAocCgASABoAIgAqADIAOABCAFoKCgNhcHASA3dlYhJYEjoKBW5naW54EgVuZ2lueBoCc2gaAi1jGgJo"
    "aSoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEAkAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAA"
    "GAAgACgAOAAaACIA"
)
WIRE: dict[str, dict[str, list[Any]]] = data.section("wire")


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return protobuf.MAGIC + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, raw)


def test_a_deployment_from_kubectl_is_what_its_json_would_be() -> None:
    assert decode(base64.b64decode(DEPLOYMENT)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [
                        {
                            "name": "nginx", "image": "nginx", "command": ["sh", "-c", "hi"],
                            "ports": [{"containerPort": 80}], "resources": {},
                        }
                    ]
                },
            },
            "strategy": {},
        },
        "status": {"replicas": 0},
    }  # fmt: skip


def test_special_types_have_their_json_form() -> None:
    time = field(1, 1_700_000_000) + field(2, 5000)
    assert decode(body("coordination.k8s.io/v1", "Lease", field(2, field(3, time))))["spec"] == {
        "acquireTime": "2023-11-14T22:13:20.000005Z"
    }
    metadata = field(1, field(8, time) + field(9, b""))
    assert decode(body("v1", "ConfigMap", metadata))["metadata"] == {"creationTimestamp": "2023-11-14T22:13:20Z"}
    quota = field(2, field(1, field(1, b"cpu") + field(2, field(1, b"500m"))))
    assert decode(body("v1", "ResourceQuota", quota))["spec"] == {"hard": {"cpu": "500m"}}
    ports = field(1, field(3, 80) + field(4, field(1, 1) + field(3, b"http")))
    ports += field(1, field(3, 81) + field(4, field(2, 8081)))
    assert decode(body("v1", "Service", field(2, ports)))["spec"]["ports"] == [
        {"port": 80, "targetPort": "http"},
        {"port": 81, "targetPort": 8081},
    ]
    secret = field(2, field(1, b"a") + field(2, b"\x00\x01"))
    assert decode(body("v1", "Secret", secret))["data"] == {"a": "AAE="}
    revision = field(2, field(1, b'{"spec":{}}')) + field(3, -1)
    found = decode(body("apps/v1", "ControllerRevision", revision))
    assert (found["data"], found["revision"]) == ({"spec": {}}, -1)


def test_embedded_messages_stand_in_their_owner() -> None:
    volume = field(1, b"v") + field(2, field(19, field(1, field(1, b"cm"))))
    pod = field(2, field(1, volume))
    assert decode(body("v1", "Pod", pod))["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "cm"}}]


def test_fields_that_are_not_known_are_skipped() -> None:
    unknown = field(999, 7) + field(998, b"abc") + varint(997 << 3 | 1) + bytes(8) + varint(996 << 3 | 5) + bytes(4)
    assert decode(body("v1", "ConfigMap", unknown)) == {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{}", b"k8s\x00\xff", body("v1", "Nothing", b""), body("apiextensions.k8s.io/v1", "CustomResourceDefinition", b""),
        body("v1", "Pod", b"\x0a\x05a"), body("v1", "Pod", b"\x0b"), body("v1", "Pod", b"\x80" * 12),
        body("v1", "Pod", field(1, 3)), body("v1", "Pod", field(1, field(1, b"\xff"))),
    ],
)  # fmt: skip
def test_a_damaged_body_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtobufError):
        decode(raw)


@given(st.binary(max_size=60), st.sampled_from(["Pod", "Secret", "Event", "Service"]))
def test_no_bytes_do_more_than_raise(raw: bytes, kind: str) -> None:
    with contextlib.suppress(ProtobufError):
        decode(body("v1", kind, raw))


def encode(name: str, value: dict[str, Any]) -> bytes:
    """The dumb twin: fields in the table's order."""
    out = b""
    for number, (field_name, kind, repeated) in WIRE[name].items():
        if field_name not in value:
            continue
        found = value[field_name]
        if kind.startswith("map<"):
            inner = kind[4:-1].split(",")[1]
            for key, part in found.items():
                out += field(int(number), field(1, key.encode()) + field(2, one(inner, part)))
        else:
            for part in found if repeated else [found]:
                out += field(int(number), one(kind, part))
    return out


def one(kind: str, value: Any) -> bytes | int:
    if kind == "string":
        return str(value).encode()
    if kind in ("int32", "int64", "bool"):
        return int(value)
    return encode(kind, value)


NAME = st.text("abc", min_size=1, max_size=3)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAME, "image": NAME},
        optional={
            "args": st.lists(NAME, min_size=1, max_size=2),
            "ports": st.lists(st.fixed_dictionaries({"containerPort": st.integers(1, 65535)}), min_size=1, max_size=2),
        },
    ),
    min_size=1,
    max_size=2,
)
PODS = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": NAME, "labels": st.dictionaries(NAME, NAME, min_size=1, max_size=2)})},
    optional={
        "spec": st.fixed_dictionaries(
            {"containers": CONTAINERS},
            optional={"terminationGracePeriodSeconds": st.integers(-5, 5), "hostNetwork": st.just(True)},
        )
    },
)


@given(PODS)
def test_what_is_encoded_is_decoded(pod: dict[str, Any]) -> None:
    raw = encode("k8s.io.api.core.v1.Pod", pod)
    assert decode(body("v1", "Pod", raw)) == {"apiVersion": "v1", "kind": "Pod", **pod}


def test_the_table_names_only_fields_that_the_schemas_have() -> None:
    definitions = Scheme.load().definitions
    special = set(_SPECIAL)
    for name, fields in WIRE.items():
        definition = "io.k8s." + name.removeprefix("k8s.io.")
        if definition not in definitions or name in special:
            continue
        known = definitions.get(definition).fields
        assert {field_name for field_name, _, _ in fields.values()} - set(known) <= {"."}, name


def test_every_built_in_kind_of_the_core_groups_has_a_message() -> None:
    without = {"apiextensions.k8s.io"}
    for info in Scheme.load().resources:
        resource = info.resource
        if resource.group not in without:
            assert protobuf.message_of(resource.group, resource.version, resource.kind) in WIRE


ENCODED = [info for info in Scheme.load().resources if info.resource.group != "apiextensions.k8s.io"]


def said(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """What protobuf can say of a value: no empty list or map, no zero of a plain field."""
    found: dict[str, Any] = {}
    for field_name, kind, repeated in WIRE[name].values():
        if field_name == ".":
            found |= said(kind, value)
            continue
        part = value.get(field_name)
        if part is None or (not part and (repeated or kind.startswith("map<"))):
            continue
        inner = kind[4:-1].split(",")[1] if kind.startswith("map<") else kind
        if inner in WIRE and inner not in _SPECIAL:
            if kind.startswith("map<"):
                part = {key: said(inner, each) for key, each in part.items()}
            else:
                part = [said(inner, each) for each in part] if repeated else said(inner, part)
        is_plain = "." not in inner and not repeated and not kind.startswith("map<")
        if is_plain and not part and field_name not in _POINTERS:
            continue
        found[field_name] = part
    return found


@pytest.mark.parametrize("info", ENCODED, ids=lambda info: f"{info.resource.group_version}/{info.resource.kind}")
def test_an_encoded_object_decodes_to_itself(info: ResourceInfo) -> None:
    resource, scheme = info.resource, Scheme.load()
    for seed in range(15):
        drawn = sample(scheme.schema_of(resource), random.Random(seed), chance=0.6)
        name = protobuf.message_of(resource.group, resource.version, resource.kind)
        wanted = {**said(name, drawn), "apiVersion": resource.group_version, "kind": resource.kind}
        assert decode(protobuf.encode(wanted)) == wanted
        assert decode(protobuf.encode({**drawn, "apiVersion": resource.group_version, "kind": resource.kind})) == wanted


def test_a_list_and_a_status_have_their_protobuf_form() -> None:
    pods = {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7"}}
    pods |= {"items": [{"metadata": {"name": name}} for name in "ab"]}
    assert decode(protobuf.encode(pods)) == pods
    refusal = {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "reason": "NotFound",
        "code": 404,
    }
    assert decode(protobuf.encode(refusal)) == refusal


def test_a_frame_of_a_watch_is_its_length_and_a_bare_event() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    frame = watch_frame({"type": "ADDED", "object": pod})
    inner = field(1, protobuf.encode(pod))
    assert frame[4:] == field(1, b"ADDED") + field(2, inner)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4


def test_a_kind_without_a_protobuf_form_is_refused() -> None:
    with pytest.raises(ProtobufError):
        protobuf.encode({"apiVersion": "example.com/v1", "kind": "Widget"})
    with pytest.raises(ProtobufError):
        protobuf.encode(
            {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"ports": [{"containerPort": "x"}]}]}}
        )
