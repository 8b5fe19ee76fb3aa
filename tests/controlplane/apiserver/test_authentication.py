"""Who is let in: each kind of credential, and each way to forge one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from controlplane.apiserver.authn.oidc import user_of_claims
from controlplane.apiserver.config import ApiServerConfig
from controlplane.machinery.client import ApiClient
from controlplane.machinery.config import ClientConfig
from controlplane.objects.kinds import NODES, PODS, SECRETS, SERVICE_ACCOUNTS
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.examples import pod
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.outside import kubeconfig_of, serving
from tests.controlplane.apiserver.pki import Authority

Object = dict[str, Any]
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
CLIENT_ID = "kubernetes"


async def who(client: ApiClient, headers: dict[str, str] | None = None) -> Object | None:
    """UserInfo of the caller; None when it is not let in."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.raw("POST", WHO, body, headers)
    if answer.status == 401:
        return None
    assert answer.status == 201, answer.body
    found: Object = json.loads(answer.body)["status"]["userInfo"]
    return found


async def test_a_static_token_is_its_user(start_api: StartApi, tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text('sesame,ali,uid-7,"thieves,forty"\nplain,baba,\n')
    api: Api = await start_api(MemoryBackend(), token_auth_file=file)
    assert await who(api.token_client("sesame")) == {
        "username": "ali",
        "uid": "uid-7",
        "groups": ["thieves", "forty", "system:authenticated"],
    }
    assert await who(api.token_client("plain")) == {"username": "baba", "groups": ["system:authenticated"]}
    assert await who(api.token_client("sesam")) is None
    nobody = api.token_client("x")
    assert (await nobody.raw("POST", WHO, {}, {"authorization": "Basic c2VzYW1lOg=="})).status == 401


async def test_a_static_token_file_of_another_form_stops_the_start(start_api: StartApi, tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text("only,two\n")
    with pytest.raises(ValueError, match="not token,user,uid"):
        await start_api(MemoryBackend(), token_auth_file=file)


def _bootstrap_secret(**changes: str) -> Object:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers",
        **changes,
    }
    return {
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items() if value},
    }


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"expiration": _in(3600)}, True),
        ({"expiration": _in(-1)}, False),
        ({"expiration": "tomorrow"}, False),
        ({"usage-bootstrap-authentication": "false"}, False),
        ({"usage-bootstrap-authentication": ""}, False),
        ({"token-id": "ghijkl"}, False),
        ({"auth-extra-groups": "system:masters"}, False),
        ({"auth-extra-groups": ""}, True),
    ],
)
async def test_a_bootstrap_token_is_good_as_its_secret_says(
    api: Api, client: ApiClient, changes: dict[str, str], good: bool
) -> None:
    await client.create(SECRETS, _bootstrap_secret(**changes), "kube-system")
    found = await who(api.token_client("abcdef.0123456789abcdef"))
    assert (found is not None) == good
    if found is not None:
        assert found["username"] == "system:bootstrap:abcdef"
        assert found["groups"][:2] == ["system:bootstrappers", "system:authenticated"]
    assert await who(api.token_client("abcdef.0123456789abcdee")) is None
    assert await who(api.token_client("../../x.0123456789abcdef")) is None
    await client.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
    assert await who(api.token_client("abcdef.0123456789abcdef")) is None


async def test_another_secret_is_no_bootstrap_token(api: Api, client: ApiClient) -> None:
    secret = _bootstrap_secret()
    await client.create(SECRETS, {**secret, "type": "Opaque"}, "kube-system")
    assert await who(api.token_client("abcdef.0123456789abcdef")) is None


# OpenID Connect


class Issuer:
    """Signs ID tokens and shows its keys."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.rotate("first")

    def rotate(self, name: str) -> None:
        self.keys = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def answer(self, method: str, path: str, body: Object) -> tuple[int, Object]:
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.asked += 1
        documents = []
        for name, key in self.keys.items():
            document = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            documents.append({**document, "kid": name, "use": "sig", "alg": "RS256"})
        return 200, {"keys": documents}

    def token(self, key: Any = None, algorithm: str = "RS256", kid: str = "", **changes: Any) -> str:
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": "jane",
            "groups": ["dev"],
            "exp": time.time() + 600,
            **changes,
        }
        name, own = next(iter(self.keys.items()))
        told = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(told, key if key is not None else own, algorithm=algorithm, headers={"kid": kid or name})


@pytest.fixture
async def issuer(authority: Authority) -> AsyncIterator[Issuer]:
    made = Issuer()
    async with serving(authority, made.answer) as url:
        made.url = url
        yield made


@pytest.fixture
async def oidc_api(start_api: StartApi, authority: Authority, issuer: Issuer) -> Api:
    found: Api = await start_api(
        MemoryBackend(),
        oidc_issuer_url=issuer.url,
        oidc_client_id=CLIENT_ID,
        oidc_ca_file=authority.path,
        oidc_groups_claim="groups",
        oidc_groups_prefix="oidc:",
        oidc_username_prefix="oidc:",
    )
    return found


async def test_an_id_token_is_its_user(oidc_api: Api, issuer: Issuer) -> None:
    for _ in range(3):
        found = await who(oidc_api.token_client(issuer.token()))
        assert found == {"username": "oidc:jane", "groups": ["oidc:dev", "system:authenticated"]}
    assert issuer.asked == 1


Forgery = Callable[[Issuer], str]


def _tampered(issuer: Issuer) -> str:
    head, body, signature = issuer.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["groups"] = ["system:masters"]
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{changed}.{signature}"


def _signed_with_the_public_key(issuer: Issuer) -> str:
    """The classic confusion: an HMAC whose secret is what everybody may read."""
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = next(iter(issuer.keys.values())).public_key()
    secret = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def encoded(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = encoded(json.dumps({"alg": "HS256", "kid": next(iter(issuer.keys))}).encode())
    claims = {"iss": issuer.url, "aud": CLIENT_ID, "sub": "jane", "exp": time.time() + 600}
    body = encoded(json.dumps(claims).encode())
    return f"{head}.{body}.{encoded(hmac.new(secret, f'{head}.{body}'.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize(
    "forge",
    [
        lambda issuer: issuer.token(aud="another"),
        lambda issuer: issuer.token(aud=None),
        lambda issuer: issuer.token(iss="https://elsewhere.example"),
        lambda issuer: issuer.token(iss=issuer.url + "/"),
        lambda issuer: issuer.token(exp=time.time() - 60),
        lambda issuer: issuer.token(exp=None),
        lambda issuer: issuer.token(nbf=time.time() + 60),
        lambda issuer: issuer.token(sub=None),
        lambda issuer: issuer.token(groups=[7]),
        lambda issuer: issuer.token(key="", algorithm="none"),
        lambda issuer: issuer.token(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        lambda issuer: issuer.token(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        lambda issuer: issuer.token(kid="unknown"),
        lambda issuer: issuer.token(algorithm="RS512"),
        lambda issuer: issuer.token() + "x",
        _tampered,
        _signed_with_the_public_key,
    ],
)
async def test_a_forged_id_token_is_refused(oidc_api: Api, issuer: Issuer, forge: Forgery) -> None:
    assert await who(oidc_api.token_client(forge(issuer))) is None


async def test_new_keys_of_the_issuer_are_learned(
    oidc_api: Api, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.apiserver.authn.oidc.REFRESH_SECONDS", 0.0)
    old = issuer.token()
    assert await who(oidc_api.token_client(old)) is not None
    issuer.rotate("second")
    assert await who(oidc_api.token_client(issuer.token())) is not None
    assert await who(oidc_api.token_client(old)) is None


async def test_an_issuer_that_cannot_be_reached_lets_nobody_in(start_api: StartApi, authority: Authority) -> None:
    issuer = Issuer()
    issuer.url = "https://127.0.0.1:1"
    api: Api = await start_api(
        MemoryBackend(), oidc_issuer_url=issuer.url, oidc_client_id=CLIENT_ID, oidc_ca_file=authority.path
    )
    assert await who(api.token_client(issuer.token())) is None
    assert (await api.client().raw("GET", "/readyz")).status == 200


@pytest.mark.parametrize(
    ("changes", "claims", "name"),
    [
        ({}, {"sub": "j"}, "https://i#j"),
        ({"oidc_username_prefix": "-"}, {"sub": "j"}, "j"),
        ({"oidc_username_claim": "email"}, {"email": "j@x"}, "j@x"),
        ({"oidc_username_claim": "email"}, {"email": "j@x", "email_verified": False}, None),
        ({"oidc_username_claim": "email"}, {"email": "j@x", "email_verified": "true"}, None),
        ({"oidc_username_claim": "name"}, {"sub": "j"}, None),
        ({"oidc_required_claims": (("team", "a"),)}, {"sub": "j", "team": "a"}, "https://i#j"),
        ({"oidc_required_claims": (("team", "a"),)}, {"sub": "j", "team": "b"}, None),
        ({"oidc_groups_claim": "g"}, {"sub": "j", "g": "one"}, "https://i#j"),
    ],
)
def test_claims_become_a_user_as_configured(
    base_config: ApiServerConfig, changes: Object, claims: Object, name: str | None
) -> None:
    from dataclasses import replace

    config = replace(base_config, oidc_issuer_url="https://i", oidc_client_id="x", **changes)
    user = user_of_claims(config, claims)
    assert (user.name if user is not None else None) == name


# A program that knows tokens, and one that decides


async def test_a_webhook_knows_tokens_and_is_not_asked_twice(
    start_api: StartApi, authority: Authority, tmp_path: Path
) -> None:
    asked: list[Object] = []

    def review(method: str, path: str, body: Object) -> tuple[int, Object]:
        asked.append(body)
        if body["spec"]["token"] != "good":
            return 200, {"status": {"authenticated": False}}
        user = {"username": "hook", "uid": "1", "groups": ["g"], "extra": {"scope": ["a", "b"]}}
        return 201, {"status": {"authenticated": True, "user": user}}

    async with serving(authority, review) as url:
        file = kubeconfig_of(authority, f"{url}/authenticate", tmp_path / "hook")
        api: Api = await start_api(MemoryBackend(), authentication_token_webhook_config_file=file)
        for _ in range(3):
            found = await who(api.token_client("good"))
            assert found is not None and found["username"] == "hook"
            assert found["groups"] == ["g", "system:authenticated"] and found["extra"] == {"scope": ["a", "b"]}
            assert await who(api.token_client("bad")) is None
        assert [each["spec"]["token"] for each in asked] == ["good", "bad"]
        assert asked[0]["kind"] == "TokenReview" and asked[0]["spec"]["audiences"]
    api.stop()


async def test_a_webhook_decides_after_the_other_modes(
    start_api: StartApi, authority: Authority, tmp_path: Path
) -> None:
    asked: list[Object] = []

    def review(method: str, path: str, body: Object) -> tuple[int, Object]:
        asked.append(body["spec"])
        spec = body["spec"]
        if spec.get("nonResourceAttributes"):
            return 200, {"status": {"allowed": False, "denied": True, "reason": "no paths"}}
        return 200, {"status": {"allowed": spec["resourceAttributes"]["namespace"] == "open", "reason": "said so"}}

    async with serving(authority, review) as url:
        file = kubeconfig_of(authority, url, tmp_path / "hook")
        api: Api = await start_api(
            MemoryBackend(), authorization_mode=("RBAC", "Webhook"), authorization_webhook_config_file=file
        )
        jane = api.client("jane", ("dev",))
        for _ in range(2):
            assert (await jane.raw("GET", "/api/v1/namespaces/open/pods")).status == 200
            refused = await jane.raw("GET", "/api/v1/namespaces/closed/pods")
            assert refused.status == 403 and b"said so" in refused.body
        assert len(asked) == 2
        assert asked[0]["user"] == "jane" and asked[0]["groups"] == ["dev", "system:authenticated"]
        assert asked[0]["resourceAttributes"]["verb"] == "list"
        assert b"no paths" in (await jane.raw("GET", "/metrics")).body
        assert (await jane.raw("GET", "/apis")).status == 200  # RBAC had allowed that before
        assert (await api.client().raw("GET", "/metrics")).status == 200
    api.stop()


async def test_a_webhook_that_is_gone_allows_nothing(
    start_api: StartApi, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.apiserver.webhooks.reviewer.FIRST_PAUSE_SECONDS", 0.0)
    file = kubeconfig_of(authority, "https://127.0.0.1:1", tmp_path / "hook")
    api: Api = await start_api(MemoryBackend(), authorization_mode=("Webhook",), authorization_webhook_config_file=file)
    assert (await api.client("jane", ()).raw("GET", "/api/v1/pods")).status == 403


# A front proxy


@pytest.fixture
def proxies(tmp_path: Path) -> Authority:
    """The authority that signs front proxies, and nobody else."""
    folder = tmp_path / "proxies"
    folder.mkdir()
    return Authority(folder, "proxies")


def _client_with(api: Api, signer: Authority, name: str, groups: tuple[str, ...] = ()) -> ApiClient:
    crt, key = signer.issue(name, name, groups)
    client = ApiClient(ClientConfig.from_files(api.server, api.authority.path, crt, key))
    api.clients.append(client)
    return client


REMOTE = {"x-remote-user": "ann", "x-remote-group": "dev", "x-remote-extra-scope%2fa": "s"}


async def test_a_front_proxy_says_who_it_is(start_api: StartApi, proxies: Authority) -> None:
    api: Api = await start_api(
        MemoryBackend(), requestheader_client_ca_file=proxies.path, requestheader_allowed_names=("front",)
    )
    front = _client_with(api, proxies, "front")
    found = await who(front, REMOTE)
    assert found is not None and found["username"] == "ann"
    assert found["groups"] == ["dev", "system:authenticated"] and found["extra"] == {"scope/a": ["s"]}
    assert await who(front) is None  # the proxy's own certificate is of nobody here
    other = _client_with(api, proxies, "other", ("system:masters",))
    assert await who(other, REMOTE) is None
    assert await who(other) is None  # nor does its authority make masters
    admin = await who(api.client(), REMOTE)
    assert admin is not None and admin["username"] == "admin"


async def test_without_a_proxys_authority_the_headers_mean_nothing(api: Api) -> None:
    jane = await who(api.client("jane", ()), {"x-remote-user": "admin", "x-remote-group": "system:masters"})
    assert jane is not None and jane["username"] == "jane" and "system:masters" not in jane["groups"]
    nobody = api.token_client("")
    assert (await nobody.raw("POST", WHO, {}, {"x-remote-user": "admin"})).status == 401


# Service accounts


def _changed(token: str, key: str, value: Any) -> str:
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    encoded = base64.urlsafe_b64encode(json.dumps({**claims, key: value}).encode()).rstrip(b"=").decode()
    return f"{head}.{encoded}.{signature}"


async def _token(client: ApiClient, **spec: Any) -> str:
    answer = await client.raw("POST", SERVICE_ACCOUNTS.path("default", "robot", "token"), {"spec": spec})
    assert answer.status == 201, answer.body
    token: str = json.loads(answer.body)["status"]["token"]
    return token


async def test_forged_account_tokens_are_refused(api: Api, client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    token = await _token(client)
    found = await who(api.token_client(token))
    assert found is not None and found["username"] == "system:serviceaccount:default:robot"
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = [
        _changed(token, "sub", "system:serviceaccount:kube-system:admin"),
        _changed(token, "exp", time.time() + 10**6),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, "x" * 32, algorithm="HS256"),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        token[:-4],
        f"{token}.x",
        "a.b.c",
        "..",
    ]
    for each in forged:
        assert await who(api.token_client(each)) is None, each


async def test_a_token_bound_to_a_secret_or_a_node_dies_with_it(api: Api, client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    await client.create(SECRETS, {"metadata": {"name": "s"}}, "default")
    await client.create(NODES, {"metadata": {"name": "n"}})
    for kind, resource, name, namespace in (("Secret", SECRETS, "s", "default"), ("Node", NODES, "n", None)):
        token = await _token(client, boundObjectRef={"apiVersion": "v1", "kind": kind, "name": name})
        assert await who(api.token_client(token)) is not None
        await client.delete(resource, name, namespace)
        assert await who(api.token_client(token)) is None


async def test_a_token_bound_to_a_pod_tells_its_pod_and_node(api: Api, client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    await client.create(NODES, {"metadata": {"name": "n"}})
    made = pod("p")
    spec = {**made["spec"], "nodeName": "n", "serviceAccountName": "robot"}
    await client.create(PODS, {**made, "spec": spec}, "default")
    token = await _token(client, boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "p"})
    found = await who(api.token_client(token))
    assert found is not None
    assert found["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    assert found["extra"]["authentication.kubernetes.io/node-name"] == ["n"]


async def test_tokens_of_an_older_key_are_good_while_it_is_listed(start_api: StartApi, authority: Authority) -> None:
    backend = MemoryBackend()
    _, old = authority.issue("old-signing", "x")
    _, new = authority.issue("new-signing", "x")
    first: Api = await start_api(backend, service_account_signing_key_file=old)
    await first.client().create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    token = await _token(first.client())
    rotated: Api = await start_api(backend, service_account_signing_key_file=new, service_account_key_files=(old, new))
    assert await who(rotated.token_client(token)) is not None
    assert await who(rotated.token_client(await _token(rotated.client()))) is not None
    keys = json.loads((await rotated.client().raw("GET", "/openid/v1/jwks")).body)["keys"]
    assert len(keys) == 2 and jwt.get_unverified_header(token)["kid"] in {key["kid"] for key in keys}
    discovery = json.loads((await rotated.client().raw("GET", "/.well-known/openid-configuration")).body)
    assert discovery["issuer"] == rotated.config.service_account_issuer
    withdrawn: Api = await start_api(backend, service_account_signing_key_file=new)
    assert await who(withdrawn.token_client(token)) is None
