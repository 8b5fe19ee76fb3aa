"""Encryption at rest: what stands in the store, who can open it, and keys that rotate."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.encryption import SealingBackend, parse
from controlplane.apiserver.encryption.providers import CannotOpen
from controlplane.apiserver.encryption.reload import follow
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS, SECRETS
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import StartApi
from tests.controlplane.apiserver.examples import config_map
from tests.controlplane.apiserver.memory import MemoryBackend

KEYED = ("aesgcm", "aescbc", "secretbox")
SECRET_KEY = b"/registry/secrets/default/s"
PLAIN = "as plain as can be"


def key(name: str, length: int = 32) -> dict[str, str]:
    return {"name": name, "secret": base64.b64encode(bytes([len(name)]) * length).decode()}


def configuration(*providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> str:
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": list(resources), "providers": list(providers)}],
    }
    return yaml.safe_dump(document)


def keys(kind: str, *names: str) -> dict[str, Any]:
    return {kind: {"keys": [key(name) for name in names]}}


IDENTITY: dict[str, Any] = {"identity": {}}


def secret(name: str = "s") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"word": PLAIN}}


def word_of(obj: dict[str, Any]) -> str:
    return base64.b64decode(obj["data"]["word"]).decode()


@pytest.mark.parametrize("kind", KEYED)
@given(plain=st.binary(max_size=300))
def test_what_is_sealed_opens_again_under_its_key_and_says_who_sealed_it(kind: str, plain: bytes) -> None:
    rule = parse(configuration(keys(kind, "one"))).of(SECRET_KEY)
    assert rule is not None
    sealed = rule.seal(plain, SECRET_KEY, os.urandom)
    assert sealed.startswith(f"k8s:enc:{kind}:v1:one:".encode())
    assert rule.open(sealed, SECRET_KEY) == (plain, False)
    assert rule.seal(plain, SECRET_KEY, os.urandom) != sealed


@pytest.mark.parametrize("kind", ["aesgcm", "secretbox"])
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_value_with_one_bit_changed_does_not_open(kind: str, at: int, bit: int) -> None:
    rule = parse(configuration(keys(kind, "one"))).of(SECRET_KEY)
    assert rule is not None
    sealed = bytearray(rule.seal(b"plain", SECRET_KEY, os.urandom))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(CannotOpen):
        rule.open(bytes(sealed), SECRET_KEY)


def test_a_value_that_was_moved_to_another_key_does_not_open() -> None:
    rule = parse(configuration(keys("aesgcm", "one"))).of(SECRET_KEY)
    assert rule is not None
    with pytest.raises(CannotOpen, match="message authentication failed"):
        rule.open(rule.seal(b"plain", SECRET_KEY, os.urandom), SECRET_KEY + b"2")


def test_any_provider_reads_the_first_one_writes_and_the_rest_is_stale() -> None:
    old = parse(configuration(keys("aescbc", "old"))).of(SECRET_KEY)
    new = parse(configuration(keys("aesgcm", "newer", "old"), keys("aescbc", "old"), IDENTITY)).of(SECRET_KEY)
    assert old is not None and new is not None
    assert new.open(old.seal(b"plain", SECRET_KEY, os.urandom), SECRET_KEY) == (b"plain", True)
    assert new.open(b"plain", SECRET_KEY) == (b"plain", True)
    assert new.seal(b"plain", SECRET_KEY, os.urandom).startswith(b"k8s:enc:aesgcm:v1:newer:")


@pytest.mark.parametrize(
    ("resource", "covered", "not_covered"),
    [
        ("secrets", "/registry/secrets/a/b", "/registry/configmaps/a/b"),
        ("nodes", "/registry/minions/a", "/registry/nodes/a"),
        ("deployments.apps", "/registry/deployments/a/b", "/registry/daemonsets/a/b"),
        ("*.apps", "/registry/daemonsets/a/b", "/registry/secrets/a/b"),
        ("*.", "/registry/secrets/a/b", "/registry/deployments/a/b"),
        ("widgets.example.com", "/registry/example.com/widgets/a/b", "/registry/example.com/gadgets/a"),
        ("*.example.com", "/registry/example.com/gadgets/a", "/registry/example.org/gadgets/a"),
        ("*.*", "/registry/example.org/gadgets/a", "/registry/masterleases/10.0.0.1"),
        ("*.*", "/registry/deployments/a/b", "/registry/ranges/servicenodeports/30000"),
    ],
)
def test_a_configured_resource_is_found_by_the_keys_of_its_objects(
    resource: str, covered: str, not_covered: str
) -> None:
    rules = parse(configuration(keys("aesgcm", "one"), resources=(resource,)))
    assert rules.of(covered.encode()) is not None
    assert rules.of(not_covered.encode()) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "error decoding"),
        ("apiVersion: v1\nkind: Secret", "must be of apiserver.config.k8s.io/v1"),
        (configuration(), "must contain at least one provider"),
        (configuration({"aesgcm": {"keys": [key("a", 7)]}}), "is 7 bytes long, must be one of 16, 24, 32"),
        (configuration({"secretbox": {"keys": [key("a", 16)]}}), "must be one of 32"),
        (configuration({"aesgcm": {"keys": [{"name": "a", "secret": "?"}]}}), "must be base64 encoded"),
        (configuration({"aesgcm": {"keys": []}}), "at least one key"),
        (configuration({"kms": {"name": "x"}}), 'Unsupported value: "kms"'),
    ],
)
def test_a_configuration_that_cannot_be_used_says_where_it_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


INITIAL = configuration(keys("aesgcm", "one"), IDENTITY)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "encryption.yaml"
    path.write_text(INITIAL)
    return path


async def test_secrets_are_sealed_in_the_store_and_plain_in_every_answer(start_api: StartApi, file: Path) -> None:
    backend = MemoryBackend()
    api = await start_api(backend, encryption_provider_config=file)
    client: ApiClient = api.client()
    made = await client.create(SECRETS, secret(), "default")
    await client.create(CONFIG_MAPS, config_map("c", k="v"), "default")
    row = backend.rows[SECRET_KEY]
    assert row.value.startswith(b"k8s:enc:aesgcm:v1:one:")
    assert backend.rows[b"/registry/configmaps/default/c"].value.startswith(b"{")
    assert word_of(await client.get(SECRETS, "s", "default")) == PLAIN
    listed = await client.list(SECRETS, "default")
    assert [word_of(each) for each in listed["items"]] == [PLAIN]
    changed = await client.update(SECRETS, {**made, "data": {"word": base64.b64encode(b"other").decode()}})
    assert word_of(changed) == "other" and backend.rows[SECRET_KEY].revision > row.revision


async def test_the_same_object_written_again_changes_its_key_but_only_when_that_is_an_old_one(
    start_api: StartApi, file: Path
) -> None:
    backend = MemoryBackend()
    first = await start_api(backend, encryption_provider_config=file)
    made = await first.client().create(SECRETS, secret(), "default")
    rotated = file.with_name("rotated.yaml")
    rotated.write_text(configuration(keys("aesgcm", "newer", "one")))
    second = await start_api(backend, encryption_provider_config=rotated)
    client = second.client()
    again = await client.update(SECRETS, made)
    assert backend.rows[SECRET_KEY].value.startswith(b"k8s:enc:aesgcm:v1:newer:")
    assert int(again["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert (await client.update(SECRETS, again))["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


async def test_an_object_that_no_key_opens_is_named_in_the_error(start_api: StartApi, file: Path) -> None:
    backend = MemoryBackend()
    api = await start_api(backend, encryption_provider_config=file)
    client: ApiClient = api.client()
    await client.create(SECRETS, secret(), "default")
    row = backend.rows[SECRET_KEY]
    await backend.commit((), [*_as_put(row.key, row.value[:-1])])
    for ask in (lambda: client.get(SECRETS, "s", "default"), lambda: client.list(SECRETS, "default")):
        with pytest.raises(ApiError) as caught:
            await ask()
        assert caught.value.code == 500
        assert 'unable to transform key "/registry/secrets/default/s"' in caught.value.message


def _as_put(name: bytes, value: bytes) -> list[Any]:
    from controlplane.apiserver.storage.backend import Put

    return [Put(name, value)]


async def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = SealingBackend(MemoryBackend(), parse(INITIAL), os.urandom)

    def writer() -> bytes:
        rule = backend.rules.of(SECRET_KEY)
        assert rule is not None
        return rule.providers[0].prefix

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.005)

    following = asyncio.create_task(follow(file, backend, 0.005))
    await asyncio.to_thread(file.write_text, "resources: []")
    await until(lambda: "is no usable encryption configuration" in caplog.text)
    assert writer() == b"k8s:enc:aesgcm:v1:one:"
    await asyncio.to_thread(file.write_text, configuration(keys("aesgcm", "newer", "one")))
    await until(lambda: writer() == b"k8s:enc:aesgcm:v1:newer:")
    following.cancel()


async def test_the_files_of_a_member_do_not_contain_the_plain_text(
    start_api: StartApi, member: str, tmp_path: Path, file: Path
) -> None:
    api = await start_api(None, etcd_servers=(member,), encryption_provider_config=file)
    client: ApiClient = api.client()
    await client.create(SECRETS, secret(), "default")
    await client.create(CONFIG_MAPS, config_map("c", word="this is found in the files"), "default")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "member").rglob("*") if path.is_file())
    encoded = base64.b64encode(PLAIN.encode())
    assert b"this is found in the files" in stored and b"k8s:enc:aesgcm:v1:one:" in stored
    assert encoded not in stored and PLAIN.encode() not in stored
