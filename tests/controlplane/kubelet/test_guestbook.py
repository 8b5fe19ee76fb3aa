"""The example hangs together: what its manifests refer to is there, and its programs work on a node."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from controlplane.objects.kinds import CONFIG_MAPS, PODS, SECRETS, SERVICES
from tests.controlplane.fakes import FakeApi
from tests.controlplane.kubelet.harness import kubelet, process_config

Object = dict[str, Any]
FOLDER = Path(__file__).parents[3] / "examples" / "guestbook"


def manifests() -> list[Object]:
    return [doc for path in sorted(FOLDER.glob("*.yaml")) for doc in yaml.safe_load_all(path.read_text())]


def find(kind: str, name: str) -> Object:
    return next(m for m in manifests() if m["kind"] == kind and m["metadata"]["name"] == name)


def templates() -> dict[str, Object]:
    return {m["metadata"]["name"]: m["spec"]["template"] for m in manifests() if "template" in m.get("spec", {})}


def test_every_program_compiles() -> None:
    for name, source in find("ConfigMap", "guestbook-programs")["data"].items():
        compile(source, name, "exec")


def test_everything_that_is_referred_to_exists() -> None:
    for template in templates().values():
        for container in template["spec"]["containers"]:
            assert container["command"][1] in find("ConfigMap", "guestbook-programs")["data"]
            for entry in container["env"]:
                source = entry.get("valueFrom", {})
                if "secretKeyRef" in source:
                    assert source["secretKeyRef"]["key"] in find("Secret", source["secretKeyRef"]["name"])["stringData"]
                if "configMapKeyRef" in source:
                    assert (
                        source["configMapKeyRef"]["key"] in find("ConfigMap", source["configMapKeyRef"]["name"])["data"]
                    )
            assert container["resources"]["requests"]["cpu"]
    for service in (m for m in manifests() if m["kind"] == "Service"):
        labels = templates()[service["metadata"]["name"]]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert all(port["port"] > 1023 for port in service["spec"]["ports"])


def api_with_settings() -> FakeApi:
    api = FakeApi()
    for manifest in manifests():
        manifest["metadata"]["namespace"] = "default"
        if manifest["kind"] == "ConfigMap":
            api.put(CONFIG_MAPS, manifest)
        if manifest["kind"] == "Secret":
            data = {key: base64.b64encode(value.encode()).decode() for key, value in manifest["stringData"].items()}
            api.put(SECRETS, {**manifest, "data": data})
    return api


def pod_of(name: str) -> Object:
    template = templates()[name]
    spec = {"terminationGracePeriodSeconds": 5, "restartPolicy": "Always", **template["spec"], "nodeName": "n1"}
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "spec": spec, "status": {}}


async def test_its_programs_work_together_on_a_node(tmp_path: Path) -> None:
    api = api_with_settings()
    async with kubelet(process_config(tmp_path), api=api) as k:
        api.put(PODS, pod_of("backend"))
        await k.until(lambda: k.is_ready("backend"))
        # No service proxy here: the Service's address is the pod's.
        address = k.pod("backend")["status"]["podIP"]
        service = {"metadata": {"name": "backend", "namespace": "default"}}
        api.put(SERVICES, {**service, "spec": {"clusterIP": address, "ports": [{"port": 8081}]}})
        await k.fleet._services.wait_for(lambda: k.fleet._services.cache.get("default/backend") is not None, 5)
        api.put(PODS, pod_of("seed"))
        api.put(PODS, pod_of("front"))
        await k.until(lambda: k.phase("seed") == "Succeeded" and k.is_ready("front"))
        assert await k.logs("seed", "seed") == "the guestbook has 3 entries\n"
        page = await ask(k.pod("front")["status"]["podIP"])
        assert "The harbour guestbook" in page and page.count("<article>") == 3


async def ask(address: str) -> str:
    import asyncio

    def fetch() -> str:
        with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(fetch)


def test_the_page_shows_markup_as_text() -> None:
    assert "html.escape" in find("ConfigMap", "guestbook-programs")["data"]["front.py"]
    assert json.dumps(manifests())
