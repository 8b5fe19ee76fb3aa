"""PodSecurity through the API: refusals, warnings, templates, namespaces, exemptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import DEPLOYMENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import StartApi
from tests.controlplane.apiserver.examples import deployment, pod
from tests.controlplane.apiserver.memory import MemoryBackend

Object = dict[str, Any]
LABEL = "pod-security.kubernetes.io/"


async def namespace(client: ApiClient, **labels: str) -> Object:
    """The namespace `n` with levels by mode, and its service account."""
    metadata = {"name": "n", "labels": {LABEL + mode.replace("_", "-"): level for mode, level in labels.items()}}
    made = await client.create(NAMESPACES, {"metadata": metadata})
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "n")
    return made


def privileged(name: str) -> Object:
    found = pod(name)
    found["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    return found


async def warning(client: ApiClient, resource: Any, obj: Object) -> str:
    answer = await client.raw("POST", resource.path("n"), obj)
    assert answer.status == 201, answer.body
    return answer.headers.get("warning", "")


async def test_a_namespace_that_enforces_a_level_refuses_pods_that_break_it(client: ApiClient) -> None:
    await namespace(client, enforce="baseline", enforce_version="v1.28", warn="restricted")
    with pytest.raises(ApiError) as caught:
        await client.create(PODS, privileged("p"), "n")
    assert caught.value.code == 403
    assert caught.value.message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:v1.28": privileged (container "c" must not set '
        "securityContext.privileged=true)"
    )
    said = await warning(client, PODS, pod("p"))
    assert said.startswith(
        '299 - "would violate PodSecurity \\"restricted:latest\\": allowPrivilegeEscalation != false'
    )


async def test_templates_are_only_warned_of(client: ApiClient) -> None:
    await namespace(client, enforce="restricted", warn="baseline")
    assert await warning(client, DEPLOYMENTS, deployment("d")) == ""
    wanted = deployment("e")
    wanted["spec"]["template"]["spec"]["hostNetwork"] = True
    assert 'would violate PodSecurity \\"baseline:latest\\": host namespaces (hostNetwork=true)' in await warning(
        client, DEPLOYMENTS, wanted
    )


async def test_an_update_that_changes_no_image_is_not_looked_at_again(client: ApiClient) -> None:
    made = await namespace(client)
    running = await client.create(PODS, privileged("p"), "n")
    made["metadata"]["labels"][LABEL + "enforce"] = "baseline"
    await client.update(NAMESPACES, made)
    running = await client.update(
        PODS, {**running, "metadata": {**running["metadata"], "labels": {"still": "possible"}}}
    )
    running["spec"]["containers"][0]["image"] = "another"
    with pytest.raises(ApiError, match="violates PodSecurity"):
        await client.update(PODS, running)


async def test_a_namespace_is_told_which_pods_break_its_new_level(client: ApiClient) -> None:
    made = await namespace(client)
    for name in ("b", "a"):
        await client.create(PODS, privileged(name), "n")
    await client.create(PODS, pod("fine"), "n")
    made["metadata"]["labels"][LABEL + "enforce"] = "baseline"
    answer = await client.raw("PUT", NAMESPACES.path(name="n"), made)
    said = answer.headers["warning"]
    assert "a (and 1 other pod): privileged" in said and "fine" not in said


async def test_a_label_that_is_no_level_is_refused(client: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        await namespace(client, enforce="none")
    assert caught.value.code == 422
    assert 'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "none"' in caught.value.message


async def test_defaults_and_exemptions_come_from_the_configuration_file(start_api: StartApi, tmp_path: Path) -> None:
    settings = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "baseline"},
        "exemptions": {"usernames": ["trusted"], "namespaces": ["kube-system"], "runtimeClasses": []},
    }
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": settings}],
    }
    path = tmp_path / "admission.yaml"
    path.write_text(yaml.safe_dump(document))
    api = await start_api(MemoryBackend(), admission_control_config_file=path)
    client: ApiClient = api.client()
    await namespace(client)
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "kube-system")
    with pytest.raises(ApiError, match=r'violates PodSecurity "baseline:latest"'):
        await client.create(PODS, privileged("p"), "n")
    await client.create(PODS, privileged("p"), "kube-system")
    await api.client("trusted").create(PODS, privileged("p"), "n")


async def test_a_plugin_that_is_switched_off_is_not_asked(start_api: StartApi) -> None:
    api = await start_api(MemoryBackend(), disable_admission_plugins=("PodSecurity",))
    client: ApiClient = api.client()
    await namespace(client, enforce="baseline")
    await client.create(PODS, privileged("p"), "n")


async def test_unknown_plugins_stop_the_start(start_api: StartApi) -> None:
    with pytest.raises(ValueError, match='enable-admission-plugins plugin "Nonsense" is unknown'):
        await start_api(MemoryBackend(), enable_admission_plugins=("Nonsense",))
    with pytest.raises(ValueError, match="RBACEscalation"):
        await start_api(MemoryBackend(), disable_admission_plugins=("RBACEscalation",))
