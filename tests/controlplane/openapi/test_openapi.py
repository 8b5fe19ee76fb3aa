"""OpenAPI documents: what kubectl reads of them."""

from typing import Any

import msgspec
import pytest

from controlplane.apiserver.openapi import OpenApi
from controlplane.objects.scheme import Scheme

SCHEME = Scheme.load()
DOCUMENTS = OpenApi(SCHEME)
APPS: dict[str, Any] = msgspec.json.decode(DOCUMENTS.document("apis/apps/v1") or b"")
SWAGGER: dict[str, Any] = msgspec.json.decode(DOCUMENTS.v2())
DEPLOYMENT = "io.k8s.api.apps.v1.Deployment"
ONE = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


def test_the_index_names_every_group_and_version_with_its_hash() -> None:
    paths = msgspec.json.decode(DOCUMENTS.index())["paths"]
    assert set(paths) >= {"api/v1", "apis/apps/v1", "apis/autoscaling/v1", "apis/autoscaling/v2"}
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    assert url == f"/openapi/v3/apis/apps/v1?hash={DOCUMENTS.hash_of('apis/apps/v1')}"
    assert OpenApi(Scheme.load()).hash_of("api/v1") == DOCUMENTS.hash_of("api/v1")
    assert DOCUMENTS.hash_of("apis/none/v1") is None
    assert DOCUMENTS.document("apis/none/v1") is None


def test_a_patch_takes_the_parameters_by_which_kubectl_knows_that_the_server_validates() -> None:
    patch = APPS["paths"][ONE]["patch"]
    names = {parameter["name"] for parameter in patch["parameters"]}
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= names
    assert patch["x-kubernetes-action"] == "patch"
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert "application/apply-patch+yaml" in patch["requestBody"]["content"]
    swagger = SWAGGER["paths"][ONE]["patch"]
    assert {"dryRun", "fieldValidation"} <= {parameter["name"] for parameter in swagger["parameters"]}


def test_a_schema_says_how_it_merges_and_what_it_means() -> None:
    schema = APPS["components"]["schemas"][DEPLOYMENT]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    spec = schema["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    assert spec["description"].startswith("Specification of the desired behavior")
    containers = APPS["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}


def test_special_types_are_written_for_their_dialect() -> None:
    quantity, port = "io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
    schemas, definitions = APPS["components"]["schemas"], SWAGGER["definitions"]
    assert schemas[quantity]["oneOf"] == [{"type": "string"}, {"type": "number"}]
    assert schemas[port]["format"] == "int-or-string"
    assert definitions[quantity] == {"type": "string"}
    assert definitions[port] == {"type": "string", "format": "int-or-string"}


def test_enumerations_come_from_the_rules() -> None:
    schemas = APPS["components"]["schemas"]
    policy = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["restartPolicy"]
    assert policy["enum"] == ["Always", "Never", "OnFailure"]
    modes = schemas["io.k8s.api.core.v1.PersistentVolumeClaimSpec"]["properties"]["accessModes"]
    assert "ReadWriteOnce" in modes["items"]["enum"]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(part) for part in value.values()))
    return set().union(*(references(part) for part in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("group", SCHEME.groups(), ids=lambda group: group.name or "core")
def test_every_document_is_whole(group: Any) -> None:
    identifiers: set[str] = set()
    for version in group.versions:
        path = f"apis/{group.name}/{version}" if group.name else f"api/{version}"
        document = msgspec.json.decode(DOCUMENTS.document(path) or b"")
        schemas = document["components"]["schemas"]
        assert references(document) <= {f"#/components/schemas/{name}" for name in schemas}
        assert "x-pilothouse-type" not in msgspec.json.encode(document).decode()
        for item in document["paths"].values():
            for method, operation in item.items():
                if method != "parameters":
                    assert operation["operationId"] not in identifiers
                    identifiers.add(operation["operationId"])


def test_the_second_version_is_whole_too() -> None:
    assert references(SWAGGER) <= {f"#/definitions/{name}" for name in SWAGGER["definitions"]}
    assert len(SWAGGER["definitions"]) > 500
    assert DOCUMENTS.v2_hash() == OpenApi(SCHEME).v2_hash()


def fields(body: bytes) -> dict[int, list[bytes]]:
    """The length-delimited fields of a protobuf message."""
    found: dict[int, list[bytes]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(body):
        key = varint()
        if key & 7 == 0:
            varint()
            continue
        length = varint()
        found.setdefault(key >> 3, []).append(body[at : at + length])
        at += length
    return found


def test_the_protobuf_form_says_the_same_as_the_json() -> None:
    document = fields(DOCUMENTS.v2_protobuf())
    assert document[1] == [b"2.0"]
    schemas = {}
    for entry in fields(document[9][0])[1]:
        named = fields(entry)
        schemas[named[1][0].decode()] = fields(named[2][0])
    assert set(schemas) == set(SWAGGER["definitions"])
    for name, schema in schemas.items():
        expected = SWAGGER["definitions"][name]
        assert [text.decode() for text in schema.get(4, [])] == (
            [expected["description"]] if "description" in expected else []
        )
        properties = fields(schema[25][0])[1] if 25 in schema else []
        assert [fields(entry)[1][0].decode() for entry in properties] == list(expected.get("properties", {}))
    paths = [fields(entry)[1][0].decode() for entry in fields(document[8][0])[2]]
    assert paths == list(SWAGGER["paths"])
