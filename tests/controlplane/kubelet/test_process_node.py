"""A node with real processes against a fake API: what a user would see."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from controlplane.kubelet.runtimes import proc
from controlplane.objects.kinds import CONFIG_MAPS, EVENTS, LEASES, NODES, PODS, SECRETS, SERVICES
from tests.controlplane.fakes import FakeApi
from tests.controlplane.kubelet.harness import PODS_PREFIX, kubelet, process_config
from tests.controlplane.kubelet.pods import container, make_pod

Object = dict[str, Any]


def shell(script: str, **fields: Any) -> Object:
    return container(command=["sh", "-c", script], **fields)


async def test_a_node_registers_ready_with_its_labels_addresses_and_lease(tmp_path: Path) -> None:
    async with kubelet(process_config(tmp_path, cloud_provider="external")) as k:
        node = k.api.find(NODES, "n1")
        assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
        assert {"type": "InternalIP", "address": "127.240.0.1"} in node["status"]["addresses"]
        assert next(c for c in node["status"]["conditions"] if c["type"] == "Ready")["status"] == "True"
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.0+pilothouse"
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "process://0.1.0"
        assert node["spec"]["taints"][0]["key"] == "node.cloudprovider.kubernetes.io/uninitialized"
        assert node["spec"]["podCIDR"] == f"{PODS_PREFIX}.0/24"
        await k.until(lambda: len(k.api.all(LEASES)) == 1)
        assert k.api.find(LEASES, "n1", "kube-node-lease")["spec"]["holderIdentity"] == "n1"


async def test_a_pod_runs_as_a_process_and_its_log_can_be_read(tmp_path: Path) -> None:
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[shell("echo hello $(NAME); echo oops >&2; exec sleep 1000",
                                                   env=[{"name": "NAME", "value": "pod"}])]))  # fmt: skip
        await k.until(lambda: k.is_ready())
        pod = k.pod()
        assert pod["status"]["phase"] == "Running" and pod["status"]["podIP"] == f"{PODS_PREFIX}.1"
        assert k.state()["containerID"].startswith("process://")
        task = asyncio.ensure_future(k.logs(follow=True))
        await k.until_logged("hello pod\n")
        await k.until_logged("oops\n")
        await k.api.client().delete(PODS, "web", "default", grace_period_seconds=5)
        assert sorted((await task).splitlines()) == ["hello pod", "oops"]
        await k.until(k.is_gone)


async def test_environment_comes_from_fields_config_maps_secrets_and_services(tmp_path: Path) -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, {"metadata": {"name": "conf", "namespace": "default"}, "data": {"color": "blue", "size": "9"}})
    secret = {"metadata": {"name": "key", "namespace": "default"}, "data": {"token": base64.b64encode(b"s3").decode()}}
    api.put(SECRETS, secret)
    service = {"metadata": {"name": "back-end", "namespace": "default"}}
    api.put(SERVICES, {**service, "spec": {"clusterIP": "127.240.128.5", "ports": [{"port": 8080, "name": "http"}]}})
    kubernetes = {"metadata": {"name": "kubernetes", "namespace": "default"}}
    api.put(SERVICES, {**kubernetes, "spec": {"clusterIP": "127.240.128.1", "ports": [{"port": 443}]}})
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
        {"name": "URL", "value": "http://$(BACK_END_SERVICE_HOST):$(BACK_END_SERVICE_PORT_HTTP)/$(TOKEN)/$$(IP)/$(NO)"},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]
    main = shell(
        "env",
        env=env,
        envFrom=[{"prefix": "C_", "configMapRef": {"name": "conf"}}],
        resources={"limits": {"cpu": "1500m"}},
    )
    async with kubelet(process_config(tmp_path), api=api) as k:
        k.api.put(PODS, make_pod(containers=[main], restartPolicy="Never"))
        await k.until(lambda: k.phase() == "Succeeded")
        found = dict(line.split("=", 1) for line in (await k.logs()).splitlines())
    assert found["IP"] == found["PILOTHOUSE_POD_IP"] == f"{PODS_PREFIX}.1"
    assert found["URL"] == "http://127.240.128.5:8080/s3/$(IP)/$(NO)"
    assert found["C_color"] == "blue" and found["C_size"] == "9" and found["CPU"] == "1500"
    assert found["KUBERNETES_SERVICE_HOST"] == "127.240.128.1" and found["KUBERNETES_SERVICE_PORT"] == "443"
    assert found["PILOTHOUSE_NODE"] == "n1" and found["PILOTHOUSE_POD_UID"] == "uid-web" and found["HOSTNAME"] == "web"


async def test_volumes_are_at_their_mount_path_and_follow_their_config_map(tmp_path: Path) -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, {"metadata": {"name": "conf", "namespace": "default"}, "data": {"color": "blue"}})
    script = """
        root=$PILOTHOUSE_CONTAINER_ROOT
        cat $root/etc/pilothouse-test/color $root/srv/labels; echo; echo kept > $root/pilothouse-scratch/file
        until grep -q red $root/etc/pilothouse-test/color; do sleep 0.05; done
        cat $root/etc/pilothouse-test/color; cat /pilothouse-scratch/file
    """
    mounts = [
        {"name": "conf", "mountPath": "/etc/pilothouse-test", "readOnly": True},
        {"name": "me", "mountPath": "/srv"},
        {"name": "scratch", "mountPath": "/pilothouse-scratch"},
    ]
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    volumes = [
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "me", "downwardAPI": {"items": [labels]}},
        {"name": "scratch", "emptyDir": {}},
    ]
    async with kubelet(process_config(tmp_path), api=api) as k:
        if k.agent.runtime.isolation == "none":  # type: ignore[attr-defined]
            pytest.skip("no mount namespaces here")
        k.api.put(
            PODS, make_pod(containers=[shell(script, volumeMounts=mounts)], volumes=volumes, restartPolicy="Never")
        )
        await k.until(lambda: k.is_ready())
        await k.until_logged("web")
        api.change(CONFIG_MAPS, "conf", "default", lambda obj: obj["data"].update(color="red"))
        await k.until(lambda: k.phase() in ("Succeeded", "Failed"))
        assert await k.logs() == 'blueapp="web"\nredkept\n'
    assert "pilothouse-test" not in os.listdir("/etc") and "pilothouse-scratch" not in os.listdir("/")


async def test_a_pod_waits_for_the_config_map_of_its_volume(tmp_path: Path) -> None:
    volumes = [{"name": "conf", "configMap": {"name": "late"}}]
    main = shell("cat conf/x", volumeMounts=[{"name": "conf", "mountPath": "/conf"}], workingDir="/")
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[main], volumes=volumes, restartPolicy="Never"))
        await k.until(lambda: any(e["reason"] == "FailedMount" for e in k.api.all(EVENTS)))
        await k.until(lambda: k.state().get("state") == {"waiting": {"reason": "ContainerCreating"}})
        k.api.put(CONFIG_MAPS, {"metadata": {"name": "late", "namespace": "default"}, "data": {"x": "here"}})
        await k.until(lambda: k.phase() == "Succeeded")


async def test_a_crashing_container_is_restarted_and_keeps_its_previous_log(tmp_path: Path) -> None:
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[shell("echo once; exit 3")]))
        await k.until(lambda: k.state().get("restartCount", 0) >= 2)
        assert k.state()["lastState"]["terminated"]["exitCode"] == 3
        assert await k.logs(previous=True) == "once\n"


async def test_what_cannot_be_executed_says_which_program_is_missing(tmp_path: Path) -> None:
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[container(command=["no-such-program"])], restartPolicy="Never"))
        await k.until(lambda: k.phase() == "Failed")
        ended = k.state()["state"]["terminated"]
        assert ended["exitCode"] == 128 and ended["reason"] == "StartError"
        assert '"no-such-program": executable file not found in $PATH' in ended["message"]


async def test_an_image_without_a_command_says_what_to_do(tmp_path: Path) -> None:
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[{"name": "main", "image": "nginx:1"}]))
        await k.until(lambda: k.state().get("state", {}).get("waiting", {}).get("reason") == "ImagePullBackOff")
        assert "give the container a `command`" in k.state()["state"]["waiting"]["message"]


async def test_a_mapped_image_runs_its_program(tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text("hello: {command: [sh, -c, 'echo $0 $GREETING'], args: [world], env: {GREETING: hi}}\n")
    async with kubelet(process_config(tmp_path / "node", image_map=str(images))) as k:
        k.api.put(
            PODS, make_pod(containers=[{"name": "main", "image": "docker.io/library/hello:2"}], restartPolicy="Never")
        )
        await k.until(lambda: k.phase() == "Succeeded")
        assert await k.logs() == "world hi\n"


async def test_deleting_a_pod_runs_its_hook_and_lets_it_finish(tmp_path: Path) -> None:
    script = "trap 'cat hook; echo bye; exit 0' TERM; echo up; while true; do sleep 0.05; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hooked > hook"]}}}
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[shell(script, lifecycle=hook)]))
        await k.until(lambda: k.is_ready())
        follow = asyncio.ensure_future(k.logs(follow=True))
        await k.until_logged("up\n")
        await k.api.client().delete(PODS, "web", "default", grace_period_seconds=10)
        assert await follow == "up\nhooked\nbye\n"
        await k.until(k.is_gone)
        await k.until_left("web")
        assert os.listdir(tmp_path / "pods") == []


async def test_a_stubborn_container_is_killed_with_all_its_children(tmp_path: Path) -> None:
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[shell("trap '' TERM; setsid sleep 1000 & sleep 1000; sleep 1000")]))
        await k.until(lambda: k.is_ready())
        await k.api.client().delete(PODS, "web", "default", grace_period_seconds=1)
        await k.until(k.is_gone)
        assert proc.marked("PILOTHOUSE_POD_UID=uid-web", f"PILOTHOUSE_NODE_ROOT={tmp_path}") == []


async def test_a_memory_limit_is_kept(tmp_path: Path) -> None:
    hog = container(
        command=[sys.executable, "-c", "x = b'x' * 200_000_000; import time; time.sleep(100)"],
        resources={"limits": {"memory": "100Mi"}},
    )
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[hog], restartPolicy="Never"))
        await k.until(lambda: k.phase() == "Failed")
        ended = k.state()["state"]["terminated"]
        assert ended["reason"] == "OOMKilled" and ended["exitCode"] == 137


async def test_probes_gate_readiness_and_restart_what_hangs(tmp_path: Path) -> None:
    script = "touch alive; sleep 0.3; touch ready; sleep 0.5; rm alive; exec sleep 1000"
    main = shell(
        script,
        readinessProbe={"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1},
        livenessProbe={
            "exec": {"command": ["test", "-e", "alive"]}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 1,
        },
        startupProbe={"exec": {"command": ["test", "-e", "alive"]}, "periodSeconds": 1},
    )  # fmt: skip
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[main]))
        await k.until(lambda: k.phase() == "Running")
        assert not k.is_ready()
        await k.until(lambda: k.is_ready())
        await k.until(lambda: k.state()["restartCount"] == 1)
        assert any(e["reason"] == "Unhealthy" for e in k.api.all(EVENTS))


async def test_http_and_tcp_probes_ask_the_pods_own_address(tmp_path: Path) -> None:
    server = container(
        command=[sys.executable, "-m", "http.server", "8080", "--bind", "$(PILOTHOUSE_POD_IP)"],
        ports=[{"name": "http", "containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        livenessProbe={"tcpSocket": {"port": 8080}, "initialDelaySeconds": 5},
    )
    async with kubelet(process_config(tmp_path)) as k:
        k.api.put(PODS, make_pod(containers=[server]))
        await k.until(lambda: k.is_ready())
        assert k.state()["restartCount"] == 0


async def test_a_pod_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    from controlplane.kubelet.resources import parse_amounts

    async with kubelet(process_config(tmp_path, capacity=parse_amounts("cpu=1"))) as k:
        k.api.put(PODS, make_pod(containers=[container(resources={"requests": {"cpu": "1500m"}})]))
        await k.until(lambda: k.phase() == "Failed")
        status = k.pod()["status"]
        assert status["reason"] == "OutOfcpu"
        assert "requested: 1500, used: 0, capacity: 1000" in status["message"]


async def test_a_node_that_stops_takes_its_containers_along_and_starts_them_again(tmp_path: Path) -> None:
    api = FakeApi()
    script = "f=$HOME/../../../volumes/data/f; echo x >> $f; cat $f; exec sleep 1000"
    main = shell(script, volumeMounts=[{"name": "data", "mountPath": "/pilothouse-data"}])
    async with kubelet(process_config(tmp_path), api=api) as k:
        api.put(PODS, make_pod(containers=[main], volumes=[{"name": "data", "emptyDir": {}}]))
        await k.until(lambda: k.is_ready())
        await k.until_logged("x\n")
    assert proc.marked(f"PILOTHOUSE_NODE_ROOT={tmp_path}") == []
    async with kubelet(process_config(tmp_path), api=api) as k:
        await k.until(lambda: k.state()["restartCount"] == 1 and k.is_ready())
        await k.until_logged("x\nx\n")


async def test_usage_adds_up_what_a_container_and_its_children_use(tmp_path: Path) -> None:
    async with kubelet(process_config(tmp_path)) as k:
        busy = "sleep 1000 & i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; touch done; wait"
        probe = {"exec": {"command": ["test", "-e", "done"]}, "periodSeconds": 1}
        k.api.put(PODS, make_pod(containers=[shell(busy, readinessProbe=probe)]))
        await k.until(lambda: k.is_ready())
        (used,) = k.agent.runtime.usage().values()
        assert used.cpu_seconds > 0 and used.memory_bytes > 500_000


def test_this_test_run_left_no_process_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    mark = f"PILOTHOUSE_NODE_ROOT={tmp_path_factory.getbasetemp()}".encode()
    assert [pid for pid in proc.marked("PILOTHOUSE_NODE=n1") if mark in environment_of(pid)] == []


def environment_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""
