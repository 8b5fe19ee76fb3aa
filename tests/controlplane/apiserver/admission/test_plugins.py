"""The small admission plugins, through the API."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_TRUST_BUNDLES,
    INGRESS_CLASSES,
    INGRESSES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    SERVICES,
    STORAGE_CLASSES,
)
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.examples import pod, service
from tests.controlplane.apiserver.memory import MemoryBackend

Object = dict[str, Any]


def storage_class(name: str, *, default: bool = False, **more: Any) -> Object:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.com/none", **more}


def claim(name: str, size: str = "1Gi", **spec: Any) -> Object:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"metadata": {"name": name}, "spec": wanted}


async def test_a_claim_without_a_class_gets_the_default_one_and_the_finalizer(client: ApiClient) -> None:
    assert "storageClassName" not in (await client.create(PERSISTENT_VOLUME_CLAIMS, claim("a"), "default"))["spec"]
    await client.create(STORAGE_CLASSES, storage_class("plain"))
    await client.create(STORAGE_CLASSES, storage_class("usual", default=True))
    made = await client.create(PERSISTENT_VOLUME_CLAIMS, claim("b"), "default")
    assert made["spec"]["storageClassName"] == "usual"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    none = await client.create(PERSISTENT_VOLUME_CLAIMS, claim("c", storageClassName=""), "default")
    assert none["spec"]["storageClassName"] == ""


async def test_a_claim_grows_only_where_its_class_says_so(client: ApiClient) -> None:
    await client.create(STORAGE_CLASSES, storage_class("fixed"))
    await client.create(STORAGE_CLASSES, storage_class("growing", allowVolumeExpansion=True))
    for name, refused in (("fixed", True), ("growing", False)):
        made = await client.create(PERSISTENT_VOLUME_CLAIMS, claim(name, storageClassName=name), "default")
        bound = {**made, "spec": {**made["spec"], "volumeName": "v"}, "status": {"phase": "Bound"}}
        made = await client.update(PERSISTENT_VOLUME_CLAIMS, bound)
        made = await client.update(
            PERSISTENT_VOLUME_CLAIMS, {**made, "status": {"phase": "Bound"}}, subresource="status"
        )
        made["spec"]["resources"]["requests"]["storage"] = "2Gi"
        if refused:
            with pytest.raises(ApiError, match="only dynamically provisioned pvc can be resized"):
                await client.update(PERSISTENT_VOLUME_CLAIMS, made)
        else:
            await client.update(PERSISTENT_VOLUME_CLAIMS, made)


async def test_an_ingress_without_a_class_gets_the_default_one(client: ApiClient) -> None:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    wanted = {"metadata": {"name": "usual", "annotations": annotations}, "spec": {"controller": "example.com/c"}}
    await client.create(INGRESS_CLASSES, wanted)
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    made = await client.create(INGRESSES, {"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}}, "default")
    assert made["spec"]["ingressClassName"] == "usual"


async def test_a_new_node_takes_no_pods_yet(client: ApiClient) -> None:
    made = await client.create(NODES, {"metadata": {"name": "n"}})
    assert made["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


async def test_a_runtime_class_says_what_its_pods_cost_and_where_they_go(client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    scheduling = {"nodeSelector": {"kind": "k"}, "tolerations": [{"key": "t", "operator": "Exists"}]}
    overhead = {"podFixed": {"cpu": "250m"}}
    wanted = {"metadata": {"name": "r"}, "handler": "h", "overhead": overhead, "scheduling": scheduling}
    await client.create(RUNTIME_CLASSES, wanted)

    async def make(name: str, **spec: Any) -> Object:
        obj = pod(name)
        obj["spec"] |= spec
        return await client.create(PODS, obj, "default")

    made = (await make("a", runtimeClassName="r"))["spec"]
    assert made["overhead"] == {"cpu": "250m"} and made["nodeSelector"] == {"kind": "k"}
    assert {"key": "t", "operator": "Exists"} in made["tolerations"]
    for spec, why in (
        ({"runtimeClassName": "absent"}, 'RuntimeClass "absent" not found'),
        (
            {"runtimeClassName": "r", "nodeSelector": {"kind": "other"}},
            "conflict: runtimeClass.scheduling.nodeSelector",
        ),
        ({"runtimeClassName": "r", "overhead": {"cpu": "1"}}, "Pod's Overhead doesn't match"),
        ({"overhead": {"cpu": "1"}}, "without corresponding RuntimeClass"),
    ):
        with pytest.raises(ApiError, match=why) as caught:
            await make("b", **spec)
        assert caught.value.code == 403


def signing_request(signer: str, group: str = "") -> Object:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "somebody")]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
    spec = {"signerName": signer, "request": base64.b64encode(request).decode(), "usages": ["client auth"]}
    return {"metadata": {"name": "r"}, "spec": spec}


async def test_nobody_asks_for_a_certificate_of_the_masters(client: ApiClient) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    with pytest.raises(ApiError, match="with system:masters group is not allowed"):
        await client.create(CERTIFICATE_SIGNING_REQUESTS, signing_request(signer, "system:masters"))
    await client.create(CERTIFICATE_SIGNING_REQUESTS, signing_request(signer, "friends"))


async def grant(client: ApiClient, user: str, *rules: Object) -> None:
    """Everything on requests and bundles, and more rules, for one user."""
    everything = {
        "apiGroups": ["certificates.k8s.io"],
        "resources": [
            "certificatesigningrequests",
            "certificatesigningrequests/approval",
            "certificatesigningrequests/status",
            "clustertrustbundles",
        ],
        "verbs": ["*"],
    }
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    await client.create(CLUSTER_ROLES, {"metadata": {"name": user}, "rules": [everything, *rules]})
    await client.create(
        CLUSTER_ROLE_BINDINGS, {"metadata": {"name": user}, "roleRef": reference, "subjects": [subject]}
    )


def signers(verb: str, name: str) -> Object:
    return {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": [name], "verbs": [verb]}


async def test_approving_and_signing_need_permission_for_the_signer(api: Api) -> None:
    admin = api.client()
    await grant(admin, "powerless")
    await grant(admin, "able", signers("approve", "example.com/*"), signers("sign", "example.com/one"))
    await admin.create(CERTIFICATE_SIGNING_REQUESTS, signing_request("example.com/one"))
    approved = {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]}}
    failure = {"type": "Failed", "status": "True", "reason": "r", "message": "m"}
    failed = {"status": {"conditions": [*approved["status"]["conditions"], failure]}}

    async def change(user: str, subresource: str, patch: Object) -> int:
        path = CERTIFICATE_SIGNING_REQUESTS.path(name="r", subresource=subresource)
        headers = {"content-type": "application/merge-patch+json"}
        return (await api.client(user, ()).raw("PATCH", path, patch, headers)).status

    assert await change("powerless", "approval", approved) == 403
    assert await change("able", "approval", approved) == 200
    assert await change("powerless", "status", failed) == 403
    assert await change("able", "status", failed) == 200


async def test_trust_anchors_of_a_signer_need_permission_to_attest(api: Api) -> None:
    admin = api.client()
    await grant(admin, "powerless")
    wanted = {"metadata": {"name": "example.com:one:b"}, "spec": {"signerName": "example.com/one", "trustBundle": "x"}}
    with pytest.raises(ApiError, match=r'user not permitted to attest for signerName "example\.com/one"'):
        await api.client("powerless", ()).create(CLUSTER_TRUST_BUNDLES, wanted)


async def test_optional_plugins_work_when_they_are_named(start_api: StartApi) -> None:
    names = ("AlwaysPullImages", "DenyServiceExternalIPs")
    api = await start_api(MemoryBackend(), enable_admission_plugins=names)
    client: ApiClient = api.client()
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    made = await client.create(PODS, pod("p"), "default")
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    wanted = service("s")
    wanted["spec"]["externalIPs"] = ["192.0.2.1"]
    with pytest.raises(ApiError, match="Use of external IPs is denied by admission control"):
        await client.create(SERVICES, wanted, "default")


async def test_a_claim_that_grows_takes_the_difference_from_the_quota(client: ApiClient) -> None:
    await client.create(STORAGE_CLASSES, storage_class("growing", allowVolumeExpansion=True))
    await client.create(
        RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"requests.storage": "3Gi"}}}, "default"
    )
    made = await client.create(PERSISTENT_VOLUME_CLAIMS, claim("c", storageClassName="growing"), "default")
    made = await client.update(PERSISTENT_VOLUME_CLAIMS, {**made, "status": {"phase": "Bound"}}, subresource="status")
    made["spec"]["resources"]["requests"]["storage"] = "3Gi"
    made = await client.update(PERSISTENT_VOLUME_CLAIMS, made)
    assert (await client.get(RESOURCE_QUOTAS, "q", "default"))["status"]["used"] == {"requests.storage": "3Gi"}
    made["spec"]["resources"]["requests"]["storage"] = "4Gi"
    with pytest.raises(ApiError, match=r"exceeded quota: q, requested: requests\.storage=1Gi"):
        await client.update(PERSISTENT_VOLUME_CLAIMS, made)
