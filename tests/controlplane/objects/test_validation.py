"""What the decoder says of a body, in Kubernetes' words."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects.kinds import CONFIG_MAPS, DEPLOYMENTS, LEASES, SECRETS
from controlplane.objects.scheme import Scheme
from controlplane.objects.status import ApiError
from controlplane.objects.validation import decode, decode_object, duplicate_fields

SCHEME = Scheme.load()
SCHEMA = SCHEME.schema_of(DEPLOYMENTS)
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
        },
    },
}


def changed(value: Any, *path: Any) -> dict[str, Any]:
    copied = copy.deepcopy(DEPLOYMENT)
    at: Any = copied
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return copied


POD = ("spec", "template", "spec")
REFUSED = [
    (changed("3", "spec", "replicas"), "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
    (changed(1.5, "spec", "replicas"), "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    (changed(2**31, "spec", "replicas"), "number 2147483648 into Go struct field DeploymentSpec.spec.replicas"),
    (changed(True, "spec", "replicas"), "bool into Go struct field DeploymentSpec.spec.replicas of type int32"),
    (changed([], "spec"), "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
    (changed({}, *POD, "containers"), "PodSpec.spec.template.spec.containers of type []v1.Container"),
    (
        changed([{"name": "a", "value": 5}], *POD, "containers", 0, "env"),
        "number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
    ),
    (changed({"a": 1}, "metadata", "labels"), "number into Go struct field ObjectMeta.metadata.labels of type string"),
    (
        changed({"limits": {"cpu": "1x"}}, *POD, "containers", 0, "resources"),
        "quantities must match the regular expression",
    ),
    (changed("yesterday", "metadata", "creationTimestamp"), 'parsing time "yesterday"'),
]


@pytest.mark.parametrize(("body", "words"), REFUSED)
def test_a_value_of_the_wrong_type_is_refused_with_its_path(body: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode_object(DEPLOYMENTS, SCHEMA, body)
    assert caught.value.code == 400
    assert caught.value.message.startswith('Deployment in version "v1" cannot be handled as a Deployment: ')
    assert words in caught.value.message


def test_unknown_fields_are_refused_warned_of_or_dropped() -> None:
    body = changed([{"name": "c", "image": "i", "foo": 1}], *POD, "containers")
    body["spec"]["bar"] = 1
    with pytest.raises(ApiError) as caught:
        decode_object(DEPLOYMENTS, SCHEMA, body)
    assert caught.value.message.endswith(
        'strict decoding error: unknown field "spec.template.spec.containers[0].foo", unknown field "spec.bar"'
    )
    obj, warnings = decode_object(DEPLOYMENTS, SCHEMA, body, "Warn", ['duplicate field "spec.replicas"'])
    assert warnings[0] == 'duplicate field "spec.replicas"'
    assert warnings[2] == 'unknown field "spec.bar"'
    assert obj == changed([{"name": "c", "image": "i"}], *POD, "containers")
    assert decode_object(DEPLOYMENTS, SCHEMA, body, "Ignore") == (obj, [])


def test_quantities_and_times_come_out_canonical_and_nulls_vanish() -> None:
    body = changed({"limits": {"cpu": "1000m", "memory": 1024}}, *POD, "containers", 0, "resources")
    body["metadata"] |= {"creationTimestamp": None, "labels": {}, "deletionTimestamp": "2026-01-01T01:00:00+01:00"}
    obj = decode(SCHEMA, body).object
    assert obj["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1", "memory": "1024"}}
    assert obj["metadata"] == {"name": "web", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    lease = decode(SCHEME.schema_of(LEASES), {"spec": {"renewTime": "2026-01-01T00:00:00.5Z"}}).object
    assert lease["spec"]["renewTime"] == "2026-01-01T00:00:00.500000Z"


def test_nulls_in_maps_become_zero_values() -> None:
    assert decode(SCHEME.schema_of(CONFIG_MAPS), {"data": {"a": None}}).object == {"data": {"a": ""}}


def test_secrets_must_be_base64() -> None:
    schema = SCHEME.schema_of(SECRETS)
    assert decode(schema, {"data": {"a": "aGk=", "b": ""}}).unknown == ()
    for text in ("a", "aGk", "!!!!"):
        with pytest.raises(ApiError, match="illegal base64 data at input byte"):
            decode_object(SECRETS, schema, {"data": {"a": text}})


def test_what_needs_no_change_is_the_same_object() -> None:
    assert decode(SCHEMA, DEPLOYMENT).object is DEPLOYMENT


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda x: st.lists(x, max_size=2)))
def test_any_value_at_a_field_either_decodes_or_is_refused_and_decoding_twice_changes_nothing(value: Any) -> None:
    for path in (("spec", "replicas"), ("metadata", "labels"), (*POD, "containers"), ("spec", "selector")):
        try:
            obj, _ = decode_object(DEPLOYMENTS, SCHEMA, changed(value, *path), "Ignore")
        except ApiError as error:
            assert error.code == 400
        else:
            assert decode(SCHEMA, obj).object is obj


def test_keys_said_twice_are_found_at_any_depth() -> None:
    assert duplicate_fields(b'{"a":{"b":1,"b":2},"c":[{"x":1,"x":2}],"d":1}') == ["a.b", "c[0].x"]
