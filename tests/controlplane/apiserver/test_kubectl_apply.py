"""Server-side apply as real kubectls and helm do it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.apiserver.examples import config_map, deployment
from tests.controlplane.apiserver.test_kubectl import BIN, KUBECTLS, Kubectl

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SERVER_SIDE = ("apply", "--server-side", "-f", "-")
HELM = BIN.parent / "tools" / "helm-with-1.28"
TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {color: "{{ .Values.color }}"}
---
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec: {selector: {app: x}, ports: [{port: 80}]}
"""


@pytest.fixture(params=KUBECTLS, ids=lambda path: Path(str(path)).name)
def kubectl(request: pytest.FixtureRequest, api: Api, tmp_path: Path) -> Kubectl:
    return Kubectl(request.param, api.kubeconfig(), tmp_path)


async def _managers(kubectl: Kubectl, *what: str) -> list[dict[str, Any]]:
    found = json.loads(await kubectl.ok("get", *what, "-o", "json", "--show-managed-fields"))
    entries: list[dict[str, Any]] = found["metadata"].get("managedFields", [])
    return entries


async def test_server_side_apply_conflicts_and_is_forced(kubectl: Kubectl) -> None:
    two, three = (yaml.safe_dump(deployment("web", replicas)) for replicas in (2, 3))
    assert await kubectl.ok(*SERVER_SIDE, text=two) == "deployment.apps/web serverside-applied\n"
    conflict = 'Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas'
    assert conflict in await kubectl.fails(*SERVER_SIDE, "--field-manager=other", text=three)
    await kubectl.ok(*SERVER_SIDE, "--field-manager=other", "--force-conflicts", text=three)
    assert await kubectl.ok("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    entries = {each["manager"]: each["fieldsV1"]["f:spec"] for each in await _managers(kubectl, "deploy", "web")}
    assert "f:replicas" in entries["other"] and "f:replicas" not in entries["kubectl"]


async def test_the_second_apply_says_the_same_and_a_dry_run_stores_nothing(kubectl: Kubectl) -> None:
    text = yaml.safe_dump(config_map("a", k="v"))
    await kubectl.ok(*SERVER_SIDE, text=text)
    revision = await kubectl.ok("get", "cm", "a", "-o", "jsonpath={.metadata.resourceVersion}")
    await kubectl.ok(*SERVER_SIDE, text=text)
    await kubectl.ok(*SERVER_SIDE, "--dry-run=server", text=yaml.safe_dump(config_map("a", k="w")))
    assert await kubectl.ok("get", "cm", "a", "-o", "jsonpath={.metadata.resourceVersion}") == revision


async def test_server_side_apply_takes_over_from_client_side_apply(kubectl: Kubectl) -> None:
    await kubectl.ok("apply", "-f", "-", text=yaml.safe_dump(config_map("a", k="1", l="1")))
    await kubectl.ok(*SERVER_SIDE, text=yaml.safe_dump(config_map("a", k="2")))
    found = json.loads(await kubectl.ok("get", "cm", "a", "-o", "json"))
    assert found["data"] == {"k": "2"}
    assert json.loads(found["metadata"]["annotations"][LAST_APPLIED])["data"] == {"k": "2"}
    managers = [(each["manager"], each["operation"]) for each in await _managers(kubectl, "cm", "a")]
    assert managers == [("kubectl", "Apply"), ("kubectl-last-applied", "Apply")]
    assert "configured" in await kubectl.ok("apply", "-f", "-", text=yaml.safe_dump(config_map("a", m="3")))
    assert await kubectl.ok("get", "cm", "a", "-o", "jsonpath={.data}") == '{"m":"3"}'


async def test_unknown_fields_are_named(kubectl: Kubectl) -> None:
    text = yaml.safe_dump({**config_map("a"), "dota": {"k": "v"}})
    assert ".dota: field not declared in schema" in await kubectl.fails(*SERVER_SIDE, "--validate=false", text=text)


@pytest.mark.slow
@pytest.mark.skipif(not HELM.exists(), reason="no helm: make tools")
async def test_helm_installs_upgrades_and_rolls_back(api: Api, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\n")
    (chart / "values.yaml").write_text("color: red\n")
    (chart / "templates" / "all.yaml").write_text(TEMPLATE)
    helm = Kubectl(str(HELM), api.kubeconfig(), tmp_path)
    kubectl = Kubectl(os.fspath(KUBECTLS[0]), api.kubeconfig(), tmp_path)  # type: ignore[arg-type]
    assert "STATUS: deployed" in await helm.ok("install", "rel", str(chart))
    assert (await _managers(kubectl, "cm", "rel"))[0]["manager"] == "helm"
    await helm.ok("upgrade", "rel", str(chart), "--set", "color=blue")
    assert await kubectl.ok("get", "cm", "rel", "-o", "jsonpath={.data.color}") == "blue"
    await helm.ok("rollback", "rel", "1")
    assert await kubectl.ok("get", "cm", "rel", "-o", "jsonpath={.data.color}") == "red"
    await helm.ok("uninstall", "rel")
    assert "NotFound" in await kubectl.fails("get", "cm", "rel")
