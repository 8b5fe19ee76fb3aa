"""The pure parts: variables, volumes, resources, images, addresses, the node's own object, flags."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.kubelet import ConfigurationError, KubeletConfig, environment, images, nodestatus, resources, volumes
from controlplane.kubelet.addresses import AddressesExhausted, PodAddresses, default_cidr
from controlplane.kubelet.command import configurations, kubelet, parse_labels, parse_taints
from controlplane.kubelet.environment import Facts
from controlplane.kubelet.runtimes.port import Mount, StartFailed
from controlplane.kubelet.volumes import File, VolumeError
from controlplane.objects.quantity import parse
from tests.controlplane.kubelet.pods import NOW, container, make_pod

Object = dict[str, Any]
FACTS = Facts("127.1.16.1", "127.1.0.1", "n1", {"cpu": parse("4"), "memory": parse("8Gi")})


# Variables


def test_references_are_expanded_once_and_dollars_are_kept() -> None:
    known = {"A": "1", "B": "$(A)"}
    assert environment.expand("$(A) $(B) $(NO) $$(A) $$$(A) $A $( A)", known) == "1 $(A) $(NO) $(A) $1 $A $( A)"


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="$()AB ", max_size=20))
def test_a_text_without_known_names_only_loses_doubled_dollars(text: str) -> None:
    assert environment.expand(text, {}).replace("$", "") == text.replace("$", "")


def test_a_later_variable_may_use_an_earlier_one_and_missing_optional_keys_are_left_out() -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "C", "value": "3"},
        {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "x", "optional": True}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "H", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    ]
    found = environment.resolve(make_pod(), container(env=env), (), {("ConfigMap", "no"): None}, FACTS)
    assert found == {"A": "1", "B": "1$(C)", "C": "3", "L": "web", "H": "127.1.0.1"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"configMapKeyRef": {"name": "m", "key": "x"}}, 'configmap "m" not found'),
        ({"secretKeyRef": {"name": "s", "key": "x"}}, "couldn't find key x in Secret default/s"),
        ({"fieldRef": {"fieldPath": "status.nothing"}}, "unsupported fieldPath: status.nothing"),
    ],
)
def test_a_reference_to_nothing_says_what_is_missing(source: Object, text: str) -> None:
    env = [{"name": "A", "valueFrom": source}]
    lookup = {("ConfigMap", "m"): None, ("Secret", "s"): {"data": {}}}
    with pytest.raises(StartFailed) as caught:
        environment.resolve(make_pod(), container(env=env), (), lookup, FACTS)
    assert caught.value.reason == "CreateContainerConfigError" and caught.value.message == text


def test_services_become_variables_except_headless_ones() -> None:
    ports = [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP", "name": "dns-udp"}]
    services = [
        {"metadata": {"name": "my-svc"}, "spec": {"clusterIP": "127.1.128.9", "ports": ports}},
        {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": ports}},
    ]
    found = environment.service_variables(services)
    assert found["MY_SVC_SERVICE_HOST"] == "127.1.128.9" and found["MY_SVC_SERVICE_PORT"] == "80"
    assert found["MY_SVC_SERVICE_PORT_DNS_UDP"] == "53" and found["MY_SVC_PORT_53_UDP"] == "udp://127.1.128.9:53"
    assert not any(name.startswith("HEADLESS") for name in found)


# Volumes


def files_of(volume: Object, lookup: environment.Lookup, pod: Object | None = None) -> dict[str, File]:
    plan = volumes.volume_plan(pod or make_pod(), {"name": "v", **volume}, lookup, FACTS)
    assert plan.files is not None
    return dict(plan.files)


def test_a_projected_volume_joins_its_sources_and_asks_for_a_token() -> None:
    token = {"path": "token", "expirationSeconds": 600, "audience": "vault"}
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "deep/a", "mode": 0o400}]}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": token},
    ]
    lookup = {
        ("ConfigMap", "c"): {"data": {"a": "1", "b": "2"}},
        ("Secret", "s"): {"data": {"k": base64.b64encode(b"\0raw").decode()}},
    }
    pod = make_pod(volumes=[{"name": "v", "projected": {"sources": sources}}])
    plan = volumes.volume_plan(pod, pod["spec"]["volumes"][0], lookup, FACTS)
    assert plan.files == {"deep/a": File(b"1", 0o400), "k": File(b"\0raw"), "name": File(b"web")}
    assert plan.tokens == (volumes.TokenWanted("token", "vault", 600, 0o644),)
    assert set(volumes.volume_references(pod)) == {("ConfigMap", "c"), ("Secret", "s")}


def test_missing_objects_stop_a_volume_unless_they_are_optional() -> None:
    lookup: environment.Lookup = {("ConfigMap", "c"): None, ("Secret", "s"): None}
    with pytest.raises(VolumeError, match='"v" : configmap "c" not found'):
        files_of({"configMap": {"name": "c"}}, lookup)
    assert files_of({"secret": {"secretName": "s", "optional": True}}, lookup) == {}
    with pytest.raises(VolumeError, match="references non-existent configmap key: no"):
        files_of(
            {"configMap": {"name": "c", "items": [{"key": "no", "path": "p"}]}}, {("ConfigMap", "c"): {"data": {}}}
        )
    with pytest.raises(VolumeError, match="no volumes of type nfs"):
        files_of({"nfs": {"server": "x"}}, {})


def shown(folder: Path) -> dict[str, bytes]:
    found = {}
    for name in os.listdir(folder):
        if not name.startswith(".."):
            place = folder / name
            if place.is_dir():
                found.update({f"{name}/{deep}": (place / deep).read_bytes() for deep in os.listdir(place)})
            else:
                found[name] = place.read_bytes()
    return found


def test_files_are_swapped_all_at_once_and_old_versions_go(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert volumes.write_files(folder, {"a": File(b"1"), "d/b": File(b"2", 0o400)}, "t")
    assert shown(folder) == {"a": b"1", "d/b": b"2"}
    assert (folder / "d" / "b").stat().st_mode & 0o777 == 0o400
    first = os.readlink(folder / "..data")
    assert not volumes.write_files(folder, {"a": File(b"1"), "d/b": File(b"2")}, "t"), "nothing has changed"
    handle = (folder / "a").open("rb")
    assert volumes.write_files(folder, {"a": File(b"9"), "c": File(b"3")}, "t")
    assert shown(folder) == {"a": b"9", "c": b"3"}
    assert os.readlink(folder / "a") == "..data/a"
    assert handle.read() == b"1", "who has opened the old file still reads the old one"
    handle.close()
    assert not (folder / first).exists()
    assert len(os.listdir(folder)) == 4  # ..data, one version, a, c


names = st.sampled_from(["a", "b", "d/x", "d/y"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(names, st.binary(max_size=4)), min_size=1, max_size=5))
def test_a_volume_always_shows_exactly_the_newest_files(
    tmp_path_factory: Any, versions: list[dict[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("v")
    for version in versions:
        volumes.write_files(folder, {path: File(data) for path, data in version.items()}, "t")
        assert shown(folder) == version


def test_a_path_that_leads_out_of_its_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="leads out"):
        volumes.write_files(tmp_path / "v", {"../x": File(b"")}, "t")


def test_host_paths_are_checked_or_made_as_their_type_says(tmp_path: Path) -> None:
    volumes.prepare_host_path(str(tmp_path / "new"), "DirectoryOrCreate")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(VolumeError, match="is not a File"):
        volumes.prepare_host_path(str(tmp_path / "new"), "File")
    with pytest.raises(VolumeError):
        volumes.prepare_host_path(str(tmp_path / "none"), "Directory")


def test_mounts_name_their_volumes_and_sub_paths(tmp_path: Path) -> None:
    mounts = [
        {"name": "v", "mountPath": "/a/", "readOnly": True},
        {"name": "v", "mountPath": "/b", "subPathExpr": "$(POD)/x"},
    ]
    found = volumes.mounts_of(container(volumeMounts=mounts), {"v": tmp_path}, {"POD": "web"})
    assert found == [Mount(str(tmp_path), "/a", True), Mount(str(tmp_path / "web" / "x"), "/b")]
    with pytest.raises(StartFailed, match="not part of the pod"):
        volumes.mounts_of(container(volumeMounts=[{"name": "w", "mountPath": "/w"}]), {}, {})


# Resources


def asks(cpu: str = "", memory: str = "", **fields: Any) -> Object:
    amounts = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    return container(resources={"requests": amounts}, **fields)


def test_a_pod_asks_for_its_containers_together_or_its_greediest_init_container() -> None:
    together = make_pod(containers=[asks("1"), asks("500m")], initContainers=[asks("1")])
    assert resources.pod_requests(together)["cpu"].milli_value == 1500
    greedy = make_pod(containers=[asks("1")], initContainers=[asks("3"), asks("1", restartPolicy="Always")])
    assert resources.pod_requests(greedy)["cpu"].milli_value == 3000
    limits = make_pod(containers=[container(resources={"limits": {"memory": "1Gi"}})])
    assert resources.pod_requests(limits)["memory"].value == 2**30


def test_a_pod_that_does_not_fit_beside_the_others_is_refused_in_the_kubelets_words() -> None:
    room = resources.parse_amounts("cpu=2,memory=1Gi,pods=2")
    assert resources.admit(make_pod(containers=[asks("1")]), [make_pod(containers=[asks("1")])], room) is None
    refused = resources.admit(make_pod(containers=[asks("1500m")]), [make_pod(containers=[asks("1")])], room)
    text = "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
    assert refused == ("OutOfcpu", text)
    full = resources.admit(make_pod(), [make_pod("a"), make_pod("b")], room)
    assert full is not None and full[0] == "OutOfpods"


def test_the_quality_of_service_follows_from_requests_and_limits() -> None:
    assert resources.qos_class(make_pod()) == "BestEffort"
    assert resources.qos_class(make_pod(containers=[asks("1")])) == "Burstable"
    full = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}}
    assert resources.qos_class(make_pod(containers=[container(resources=full)])) == "Guaranteed"


def test_amounts_are_read_and_a_wrong_one_is_named() -> None:
    assert resources.parse_amounts("cpu=4, memory=8Gi")["memory"].value == 8 * 2**30
    with pytest.raises(ValueError, match="'cpu=x' is not NAME=QUANTITY"):
        resources.parse_amounts("cpu=x")


def test_a_resource_field_is_rounded_up_in_its_divisor_and_a_missing_limit_is_the_nodes() -> None:
    one = container(resources={"limits": {"cpu": "1500m"}})
    pod = make_pod(containers=[one])
    assert resources.resource_field(pod, one, {"resource": "limits.cpu"}, FACTS.allocatable) == "2"
    megabytes = {"resource": "limits.memory", "divisor": "1Mi"}
    assert resources.resource_field(pod, one, megabytes, FACTS.allocatable) == "8192"


# Images


def test_an_images_program_is_found_by_name_tag_and_without_the_registry(tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text("redis: {command: [redis-server], args: [--port, 6379]}\nredis:6: [old-redis]\n")
    known = images.load(path)
    assert known.resolve("docker.io/library/redis:7", (), ()).args == ("--port", "6379")
    assert known.resolve("redis:6", (), ()).command == ("old-redis",)
    assert known.resolve("redis:7", (), ("--help",)).args == ("--help",)
    assert known.resolve("redis:7", ("sh",), ()) == images.Program(("sh",), ())
    assert known.resolve("localhost:5000/x@sha256:0", ("sh",), ()).command == ("sh",)
    with pytest.raises(StartFailed) as caught:
        known.resolve("nginx", (), ("-g",))
    assert caught.value.reason == "ErrImagePull" and "--image-map" in caught.value.message


@pytest.mark.parametrize("text", ["[1]", "a: {args: [x]}", "a: {command: []}", "a: {command: [x], entry: y}", "a: {"])
def test_a_wrong_image_map_names_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"images\.yaml"):
        images.load(path)


# Addresses


def test_addresses_go_round_and_come_back_to_their_owners() -> None:
    pool = PodAddresses("127.1.16.0/29")
    first = [pool.acquire(f"p{index}") for index in range(6)]
    assert first == [f"127.1.16.{index}" for index in range(1, 7)]
    with pytest.raises(AddressesExhausted):
        pool.acquire("one too many")
    pool.release("p2")
    assert pool.acquire("next", "127.1.16.1") == "127.1.16.3"
    pool.release("p0")
    assert pool.acquire("again", "127.1.16.1") == "127.1.16.1"
    pool.release("p1")
    assert pool.acquire("stranger", "10.0.0.1") == "127.1.16.2"


def test_a_node_that_was_given_no_range_has_one_beside_its_address() -> None:
    assert default_cidr("n", "127.5.0.3") == "127.5.18.0/24"
    assert default_cidr("n", "192.168.0.1").startswith("100.")
    assert default_cidr("n", "") == default_cidr("n", "")


# The node


def config(**fields: Any) -> KubeletConfig:
    return KubeletConfig(kubeconfig="k", node_name="n1", **fields)


def test_conditions_keep_the_time_of_their_last_change() -> None:
    facts = nodestatus.machine_facts()
    first = nodestatus.node_status(config(), facts, {}, "process://0", 1, nodestatus.Pressure(), None, NOW)
    later = NOW.replace(hour=5)
    second = nodestatus.node_status(config(), facts, {}, "process://0", 1, nodestatus.Pressure(disk=True), first, later)
    times = {c["type"]: c["lastTransitionTime"] for c in second["conditions"]}
    assert times["Ready"] == "2026-01-01T00:00:00Z" and times["DiskPressure"] == "2026-01-01T05:00:00Z"
    assert nodestatus.without_heartbeats(first) != nodestatus.without_heartbeats(second)


def test_labels_that_the_user_sets_win() -> None:
    labels = nodestatus.node_labels(
        config(node_labels={"a": "b", "kubernetes.io/hostname": "x"}), nodestatus.machine_facts()
    )
    assert labels["a"] == "b" and labels["kubernetes.io/hostname"] == "x" and labels["kubernetes.io/os"] == "linux"


@pytest.mark.parametrize(
    "fields",
    [
        {"container_runtime": "docker"},
        {"tls_cert_file": "x"},
        {"tls_cert_file": "x", "tls_private_key_file": "y"},
        {"cloud_provider": "aws"},
    ],
)
def test_what_cannot_be_served_is_said(fields: Object) -> None:
    with pytest.raises(ConfigurationError):
        config(**fields).check()


# Flags


def test_flags_are_kubelets(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.touch()
    arguments = [
        "--kubeconfig",
        str(kubeconfig),
        "--hostname-override",
        "n9",
        "--node-ip",
        "127.3.0.1",
        "--max-pods",
        "5",
    ]
    arguments += ["--node-labels", "a=b", "--register-with-taints", "k=v:NoSchedule", "--capacity", "cpu=4,memory=8Gi"]
    arguments += [
        "--node-status-update-frequency",
        "1m30s",
        "--node-lease-duration-seconds",
        "8",
        "--cloud-provider",
        "external",
    ]
    context = kubelet.make_context("kubelet", list(arguments))
    (made,) = configurations(context.params)
    assert made.node_name == "n9" and made.node_ip == "127.3.0.1" and made.max_pods == 5
    assert made.node_labels == {"a": "b"} and made.capacity["cpu"].value == 4
    assert made.register_with_taints == ({"key": "k", "value": "v", "effect": "NoSchedule"},)
    assert made.node_status_update_frequency_seconds == 90 and made.node_lease_duration_seconds == 8
    many = list(configurations(kubelet.make_context("kubelet", [*arguments, "--simulated-nodes", "3"]).params))
    assert [each.node_name for each in many] == ["n9-0", "n9-1", "n9-2"]
    assert {each.container_runtime for each in many} == {"simulated"}


def test_wrong_flags_are_named() -> None:
    with pytest.raises(click.BadParameter):
        parse_labels("a")
    with pytest.raises(click.BadParameter):
        parse_taints("a=b:Never")
    result = CliRunner().invoke(kubelet, ["--kubeconfig", "/no/such/file"])
    assert result.exit_code == 2 and "/no/such/file" in result.output


@pytest.mark.parametrize("link", ["/etc", "../../outside", "inner-link"])
def test_a_link_in_a_volume_leads_no_mount_out_of_it(tmp_path: Path, link: str) -> None:
    volume = tmp_path / "pod" / "volume"
    volume.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (volume / "inner-link").symlink_to(tmp_path / "outside")
    (volume / "evil").symlink_to(link)
    for sub_path in ("evil", "evil/deeper"):
        container = {"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": sub_path}]}
        with pytest.raises(StartFailed, match="leads out of its volume"):
            volumes.mounts_of(container, {"v": volume}, {})
    assert not (tmp_path / "outside" / "deeper").exists()
    (volume / "fine").symlink_to("inner")
    mounts = volumes.mounts_of(
        {"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "fine"}]}, {"v": volume}, {}
    )
    assert mounts[0].source == str(volume / "inner") and (volume / "inner").is_dir()
