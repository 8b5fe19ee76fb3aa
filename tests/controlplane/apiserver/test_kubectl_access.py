"""Real kubectls asking who they are and what they may, and handing out credentials."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.objects.kinds import SERVICE_ACCOUNTS
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import request_pem
from tests.controlplane.apiserver.test_kubectl import KUBECTLS, Kubectl


@pytest.fixture
async def api(start_api: StartApi) -> Api:
    found: Api = await start_api(MemoryBackend())
    return found


@pytest.fixture(params=KUBECTLS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _kubectl(api: Api, program: str, home: Path, user: str = "admin", *groups: str) -> Kubectl:
    folder = home / user.replace(":", "-")
    folder.mkdir()
    return Kubectl(program, api.kubeconfig(user, groups if user != "admin" else ("system:masters",)), folder)


async def test_one_asks_who_one_is_and_what_one_may(api: Api, program: str, tmp_path: Path) -> None:
    admin, jane = _kubectl(api, program, tmp_path), _kubectl(api, program, tmp_path, "jane", "dev")
    code, output = await admin.run("create", "role", "reader", "--verb=get,list", "--resource=pods,services")
    assert code == 0, output
    code, output = await admin.run("create", "rolebinding", "dev", "--role=reader", "--group=dev")
    assert code == 0, output
    assert (await jane.run("auth", "can-i", "list", "pods"))[1].strip() == "yes"
    assert await jane.run("auth", "can-i", "delete", "pods") == (1, "no\n")
    assert (await jane.run("auth", "can-i", "list", "pods", "-n", "kube-system"))[0] == 1
    code, output = await jane.run("auth", "can-i", "--list")
    assert code == 0 and "warning" not in output
    rows = {line.split()[0]: line for line in output.splitlines()[1:] if line and not line.startswith(" ")}
    assert "[get list]" in rows["pods"] and "[create]" in rows["selfsubjectreviews.authentication.k8s.io"]
    code, output = await admin.run("auth", "can-i", "get", "pods", "--as=jane", "--as-group=dev")
    assert output.strip() == "yes"
    assert (await jane.run("auth", "can-i", "get", "pods", "--as=bob"))[0] == 1
    code, output = await jane.run("auth", "whoami", "-o", "json")
    assert code == 0, output
    assert json.loads(output)["status"]["userInfo"]["groups"] == ["dev", "system:authenticated"]


async def test_a_request_is_approved_denied_and_shown(api: Api, program: str, tmp_path: Path) -> None:
    admin = _kubectl(api, program, tmp_path)
    for name in ("good", "bad"):
        request = base64.b64encode(request_pem(ec.generate_private_key(ec.SECP256R1()), name)).decode()
        spec = {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
        manifest = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {**spec, "expirationSeconds": 3600},
        }
        code, output = await admin.run("create", "-f", "-", text=json.dumps(manifest))
        assert code == 0, output
    code, output = await admin.run("certificate", "approve", "good")
    assert code == 0 and "good approved" in output, output
    code, output = await admin.run("certificate", "deny", "bad")
    assert code == 0 and "bad denied" in output, output
    code, output = await admin.run("get", "csr")
    conditions = {line.split()[0]: line.split()[-1] for line in output.splitlines()[1:]}
    assert conditions == {"good": "Approved", "bad": "Denied"}
    code, output = await admin.run("describe", "csr", "good")
    assert code == 0 and "kubernetes.io/kube-apiserver-client" in output, output
    code, output = await admin.run("certificate", "approve", "bad")
    assert code != 0, output


async def test_a_token_from_kubectl_logs_in(api: Api, program: str, tmp_path: Path) -> None:
    admin = _kubectl(api, program, tmp_path)
    await admin.run("create", "serviceaccount", "robot")
    code, token = await admin.run("create", "token", "robot", "--duration=10m")
    assert code == 0, token
    path = tmp_path / "robot.conf"
    document = json.loads(api.kubeconfig().read_text())
    document["users"] = [{"name": "user", "user": {"token": token.strip()}}]
    path.write_text(json.dumps(document))
    home = tmp_path / "robot"
    home.mkdir()
    robot = Kubectl(program, path, home)
    code, output = await robot.run("auth", "whoami")
    assert code == 0 and "system:serviceaccount:default:robot" in output, output
    code, output = await robot.run("get", "secrets")
    assert code == 1 and 'User "system:serviceaccount:default:robot" cannot list resource "secrets"' in output
    await api.client().delete(SERVICE_ACCOUNTS, "robot", "default")
    code, output = await robot.run("auth", "whoami")
    assert code == 1 and ("Unauthorized" in output or "must be logged in" in output), output


async def test_a_credential_plugin_is_asked_for_the_token(api: Api, program: str, tmp_path: Path) -> None:
    admin = _kubectl(api, program, tmp_path)
    await admin.run("create", "serviceaccount", "robot")
    _, token = await admin.run("create", "token", "robot")
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token.strip()},
    }
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    document = json.loads(api.kubeconfig().read_text())
    command = f"print(open({str(tmp_path / 'credential.json')!r}).read())"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", command],
        "interactiveMode": "Never",
    }
    document["users"] = [{"name": "user", "user": {"exec": plugin}}]
    path = tmp_path / "plugin.conf"
    path.write_text(json.dumps(document))
    home = tmp_path / "plugin"
    home.mkdir()
    code, output = await Kubectl(program, path, home).run("auth", "whoami")
    assert code == 0 and "system:serviceaccount:default:robot" in output, output


async def test_roles_are_reconciled(api: Api, program: str, tmp_path: Path) -> None:
    admin = _kubectl(api, program, tmp_path)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "merged"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    code, output = await admin.run("auth", "reconcile", "-f", "-", text=json.dumps(role))
    assert code == 0 and "merged reconciled" in output, output
    more = {**role, "rules": [{"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}]}
    code, output = await admin.run("auth", "reconcile", "-f", "-", text=json.dumps(more))
    assert code == 0, output
    _, output = await admin.run("get", "clusterrole", "merged", "-o", "json")
    assert {rule["resources"][0] for rule in json.loads(output)["rules"]} == {"pods", "services"}


async def test_a_nodes_kubeconfig_reads_no_secrets(api: Api, program: str, tmp_path: Path) -> None:
    admin = _kubectl(api, program, tmp_path)
    node = _kubectl(api, program, tmp_path, "system:node:n1", "system:nodes")
    await admin.run("create", "secret", "generic", "hidden", "--from-literal=k=v")
    code, output = await node.run("get", "secret", "hidden")
    assert code == 1 and "no relationship found between node 'n1' and this object" in output
    code, output = await node.run("get", "secrets", "-A")
    assert code == 1 and "can only read namespaced object of this type" in output
    assert await node.run("auth", "can-i", "get", "secret/hidden") == (
        1,
        "no - no relationship found between node 'n1' and this object\n",
    )
