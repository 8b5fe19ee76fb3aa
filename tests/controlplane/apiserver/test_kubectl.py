"""Real kubectls against the server: the commands that people type."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.apiserver.examples import config_map, deployment, pod, service

TIMEOUT_SECONDS = 30
BIN = Path(sys.executable).parent


def _kubectls() -> Iterator[object]:
    """The venv's (or the one on PATH) always; those that `make tools` fetched in the slow run."""
    own = BIN / "kubectl" if (BIN / "kubectl").exists() else shutil.which("kubectl")
    if own is None:
        yield pytest.param("", marks=pytest.mark.skip(reason="no kubectl: make tools"))
    else:
        yield str(own)
    for path in sorted((BIN.parent / "tools").glob("kubectl-*")):
        yield pytest.param(str(path), marks=pytest.mark.slow)


KUBECTLS = list(_kubectls())


class Kubectl:
    """Runs one kubectl as one user, with a home of its own."""

    def __init__(self, program: str, kubeconfig: Path, home: Path) -> None:
        self._program, self._home = program, home
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home), "EDITOR": "true"}

    async def run(self, *arguments: str, text: str = "", **environment: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environment, **environment},
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                output, _ = await process.communicate(text.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, output.decode()

    async def ok(self, *arguments: str, text: str = "", **environment: str) -> str:
        code, output = await self.run(*arguments, text=text, **environment)
        assert code == 0, output
        return output

    async def fails(self, *arguments: str, text: str = "") -> str:
        code, output = await self.run(*arguments, text=text)
        assert code != 0, output
        return output


@pytest.fixture(params=KUBECTLS, ids=lambda path: Path(str(path)).name)
def kubectl(request: pytest.FixtureRequest, api: Api, tmp_path: Path) -> Kubectl:
    return Kubectl(request.param, api.kubeconfig(), tmp_path)


def _yaml(*objects: object) -> str:
    return "---\n".join(yaml.safe_dump(each) for each in objects)


async def test_create_read_label_and_delete(kubectl: Kubectl) -> None:
    assert await kubectl.ok("create", "configmap", "a", "--from-literal=k=v") == "configmap/a created\n"
    found = yaml.safe_load(await kubectl.ok("get", "cm", "a", "-o", "yaml"))
    assert found["data"] == {"k": "v"}
    await kubectl.ok("label", "cm", "a", "on=1")
    await kubectl.ok("annotate", "cm", "a", "note=x")
    assert (await kubectl.ok("get", "cm", "-l", "on=1", "--no-headers")).split()[:2] == ["a", "1"]
    assert "already exists" in await kubectl.fails("create", "configmap", "a")
    assert "deleted" in await kubectl.ok("delete", "cm", "a", "--wait")
    assert 'configmaps "a" not found' in await kubectl.fails("get", "cm", "a")


async def test_apply_is_idempotent_and_dry_runs_on_the_server(kubectl: Kubectl) -> None:
    text = _yaml(config_map("c", k="v"), deployment("web", 2), service("web"))
    assert (await kubectl.ok("apply", "-f", "-", text=text)).count("created") == 3
    assert (await kubectl.ok("apply", "-f", "-", text=text)).count("unchanged") == 3
    text = _yaml(config_map("c", k="w"), deployment("web", 3), service("web"))
    assert "configured (server dry run)" in await kubectl.ok("apply", "--dry-run=server", "-f", "-", text=text)
    assert await kubectl.ok("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert (await kubectl.ok("apply", "-f", "-", text=text)).count("configured") == 2
    assert await kubectl.ok("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    wide = (await kubectl.ok("get", "deploy", "web", "-o", "wide")).splitlines()
    assert wide[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert "Replicas:" in await kubectl.ok("describe", "deploy", "web")


async def test_scale_set_image_and_patch(kubectl: Kubectl) -> None:
    await kubectl.ok("create", "deployment", "web", "--image=one")
    assert "scaled" in await kubectl.ok("scale", "deploy", "web", "--replicas=4")
    await kubectl.ok("set", "image", "deploy/web", "one=two")
    await kubectl.ok("patch", "deploy", "web", "-p", '{"spec":{"paused":true}}')
    found = json.loads(await kubectl.ok("get", "deploy", "web", "-o", "json"))
    assert (found["spec"]["replicas"], found["spec"]["paused"]) == (4, True)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "two"
    assert found["metadata"]["generation"] == 4


async def test_bad_manifests_are_named_by_their_fields(kubectl: Kubectl) -> None:
    bad = deployment("bad")
    bad["spec"]["replica"] = 2
    bad["spec"]["template"]["spec"]["containers"][0]["foo"] = "bar"
    output = await kubectl.fails("apply", "-f", "-", text=_yaml(bad))
    assert 'unknown field "spec.replica"' in output
    assert 'unknown field "spec.template.spec.containers[0].foo"' in output
    bad = deployment("bad")
    bad["spec"]["template"]["metadata"]["labels"] = {"other": "label"}
    output = await kubectl.fails("apply", "-f", "-", text=_yaml(bad))
    assert "spec.template.metadata.labels: Invalid value" in output


async def test_watches_wait_and_edit(kubectl: Kubectl) -> None:
    await kubectl.ok("create", "configmap", "a", "--from-literal=k=v")
    waiting = asyncio.create_task(kubectl.ok("wait", "cm/a", "--for=jsonpath={.data.k}=w", "--timeout=20s"))
    await kubectl.ok("edit", "cm", "a", EDITOR="sed -i s/v$/w/")
    assert "condition met" in await waiting


async def test_access_is_asked_and_tokens_are_made(kubectl: Kubectl) -> None:
    assert (await kubectl.ok("auth", "can-i", "delete", "pods")) == "yes\n"
    assert (await kubectl.run("auth", "can-i", "list", "pods", "--as=jane"))[1] == "no\n"
    assert "admin" in await kubectl.ok("auth", "whoami")
    await kubectl.ok("create", "serviceaccount", "robot")
    assert (await kubectl.ok("create", "token", "robot")).count(".") == 2
    await kubectl.ok("create", "role", "r", "--verb=list", "--resource=pods")
    await kubectl.ok("create", "rolebinding", "b", "--role=r", "--user=jane")
    assert "No resources found" in await kubectl.ok("get", "pods", "--as=jane")


async def test_explain_discovery_and_pods(kubectl: Kubectl) -> None:
    resources = await kubectl.ok("api-resources", "-o", "name")
    assert "deployments.apps" in resources and "customresourcedefinitions.apiextensions.k8s.io" in resources
    assert "containerPort" in await kubectl.ok("explain", "pod.spec.containers.ports")
    assert "v1.37" in await kubectl.ok("version")
    await kubectl.ok("create", "serviceaccount", "default")
    await kubectl.ok("apply", "-f", "-", text=_yaml(pod("p")))
    line = (await kubectl.ok("get", "pods", "--no-headers", "-o", "wide")).split()
    assert line[:4] == ["p", "0/1", "Pending", "0"]
    assert "QoS Class:" in await kubectl.ok("describe", "pod", "p")
    await kubectl.ok("delete", "pod", "p", "--wait")
