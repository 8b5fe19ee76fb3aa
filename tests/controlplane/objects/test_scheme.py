"""The scheme and its data file."""

from controlplane.objects import data, kinds
from controlplane.objects.data import generate
from controlplane.objects.kinds import BUILT_IN, DEPLOYMENTS, PODS
from controlplane.objects.scheme import Scheme

SCHEME = Scheme.load()


def test_every_stable_resource_has_a_constant_and_the_other_way_round() -> None:
    assert {info.resource for info in SCHEME.resources} == set(BUILT_IN)
    assert len(BUILT_IN) == 72


def test_the_data_file_is_what_the_generator_makes_of_its_inputs() -> None:
    parts, texts = generate._kinds()
    assert data.section("kinds") == parts
    assert data.section("descriptions") == texts
    assert data.section("wire") == generate._wire()


def test_groups_stand_in_priority_order_and_versions_preferred_first() -> None:
    groups = SCHEME.groups()
    assert [group.name for group in groups[:3]] == ["", "apiregistration.k8s.io", "apps"]
    assert next(group for group in groups if group.name == "autoscaling").versions == ("v2", "v1")


def test_pods_have_their_subresources_and_names() -> None:
    info = SCHEME.of(PODS)
    assert [sub.name for sub in info.subresources] == [
        "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize", "status",
    ]  # fmt: skip
    eviction = info.subresource("eviction")
    assert eviction is not None
    assert (eviction.group, eviction.version, eviction.kind) == ("policy", "v1", "Eviction")
    assert info.short_names == ("po",)
    assert info.categories == ("all",)
    assert info.storage_version_hash == "xPOwRZ+Yhw8="


def test_kinds_lead_to_resources_and_schemas() -> None:
    info = SCHEME.kind("apps", "v1", "Deployment")
    assert info is not None
    assert info.resource == DEPLOYMENTS
    schema = SCHEME.schema("apps", "v1", "Deployment")
    assert schema.at("spec", "template", "spec", "containers", "ports").merge_key == "containerPort"
    assert schema.at("spec", "strategy").patch_strategies == {"retainKeys"}
    assert schema.at("spec", "template", "spec", "volumes").patch_strategies == {"merge", "retainKeys"}
    containers = schema.at("spec", "template", "spec", "containers")
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    for kind in (("autoscaling", "v1", "Scale"), ("policy", "v1", "Eviction"), ("", "v1", "DeleteOptions")):
        assert SCHEME.schema(*kind).type == "object"


def test_every_schema_resolves_to_its_leaves() -> None:
    seen = set()

    def walk(node: object) -> None:
        from controlplane.objects.schema import Schema

        assert isinstance(node, Schema)
        if node.name:
            if node.name in seen:
                return
            seen.add(node.name)
        for child in node.fields.values():
            walk(child)
        if node.type == "array":
            walk(node.items)
        if node.type == "map":
            walk(node.values)

    for info in SCHEME.resources:
        walk(SCHEME.definitions.get(info.definition))
    assert len(seen) > 400


def test_component_statuses_cannot_be_watched() -> None:
    assert SCHEME.of(kinds.COMPONENT_STATUSES).verbs == ("get", "list")
