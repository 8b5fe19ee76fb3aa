"""Bootstrap roles of an older cluster at the start of a newer server."""

from __future__ import annotations

import pytest

from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import StartApi
from tests.controlplane.apiserver.memory import MemoryBackend

OURS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
OLD_RULE = {"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}


async def test_roles_gain_what_they_lack_and_lose_what_was_given_too_much(start_api: StartApi) -> None:
    backend = MemoryBackend()
    first = (await start_api(backend)).client()
    role = await first.get(CLUSTER_ROLES, "system:discovery")
    await first.update(CLUSTER_ROLES, {**role, "rules": [OLD_RULE]})
    kept = await first.get(CLUSTER_ROLES, "system:basic-user")
    metadata = {**kept["metadata"], "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}
    await first.update(CLUSTER_ROLES, {**kept, "metadata": metadata, "rules": [OLD_RULE]})
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}
    binding = await first.get(CLUSTER_ROLE_BINDINGS, "system:node")
    await first.update(CLUSTER_ROLE_BINDINGS, {**binding, "subjects": [group]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilothouse:node"}
    given = {"metadata": {"name": "pilothouse:node", "annotations": OURS}, "roleRef": reference, "subjects": [group]}
    await first.create(CLUSTER_ROLE_BINDINGS, given)

    second = (await start_api(backend)).client()
    rules = (await second.get(CLUSTER_ROLES, "system:discovery"))["rules"]
    assert OLD_RULE in rules and len(rules) > 1
    assert (await second.get(CLUSTER_ROLES, "system:basic-user"))["rules"] == [OLD_RULE]
    assert not (await second.get(CLUSTER_ROLE_BINDINGS, "system:node")).get("subjects")
    with pytest.raises(ApiError) as caught:
        await second.get(CLUSTER_ROLE_BINDINGS, "pilothouse:node")
    assert caught.value.code == 404
