"""EncryptionConfiguration (apiserver.config.k8s.io/v1): resources -> providers, the first match counts.

resources:
  - resources: [secrets, configmaps, widgets.example.com, "*.apps", "*.*"]
    providers:
      - aesgcm: {keys: [{name: key2, secret: <base64>}, {name: key1, secret: <base64>}]}
      - identity: {}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from controlplane.apiserver.encryption.providers import KEYED, CannotOpen, Identity, Provider, RandomBytes
from controlplane.apiserver.storage import layout
from controlplane.objects.scheme import Scheme

API_VERSION: Final = "apiserver.config.k8s.io/v1"
KIND: Final = "EncryptionConfiguration"


@dataclass(frozen=True, slots=True)
class Rule:
    """Keys below any of `prefixes` (and of `all_custom` resources), and their providers in order: the first seals, any
    opens."""

    prefixes: tuple[bytes, ...]
    providers: tuple[Provider, ...]
    all_custom: bool = False

    def covers(self, key: bytes) -> bool:
        """Whether the key is of one of the resources; the group of a custom resource, with its dot, begins its key."""
        return key.startswith(self.prefixes) or (self.all_custom and b"." in key.split(b"/", 3)[2])

    def seal(self, plain: bytes, key: bytes, random_bytes: RandomBytes) -> bytes:
        return self.providers[0].seal(plain, key, random_bytes)

    def open(self, value: bytes, key: bytes) -> tuple[bytes, bool]:
        """(the plain value, whether the first provider would have sealed it otherwise); raises CannotOpen."""
        failure: CannotOpen | None = None
        for index, provider in enumerate(self.providers):
            if value.startswith(provider.prefix):
                try:
                    return provider.open(value, key), index > 0
                except CannotOpen as error:
                    failure = error  # two keys of one name: the other may fit
        raise failure or CannotOpen("no matching prefix found")


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a configuration, in order."""

    rules: tuple[Rule, ...]

    def of(self, key: bytes) -> Rule | None:
        """The rule for a key of the store; None: its values are as they are."""
        for rule in self.rules:
            if rule.covers(key):
                return rule
        return None


def parse(text: str | bytes) -> Rules:
    """The rules in a configuration file; raises ValueError with the field that is wrong."""
    try:
        document: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"error decoding encryption provider configuration: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("error decoding encryption provider configuration: it is no object")
    if document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
        raise ValueError(f"encryption provider configuration must be of {API_VERSION}, Kind={KIND}")
    entries = document.get("resources")
    if not isinstance(entries, list) or not entries:
        raise ValueError("resources: Required value: must contain at least one resource")
    return Rules(tuple(_rule(entry, f"resources[{index}]") for index, entry in enumerate(entries)))


def _rule(entry: Any, where: str) -> Rule:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: Invalid value: must be an object")
    names, providers = entry.get("resources"), entry.get("providers")
    if not isinstance(names, list) or not names:
        raise ValueError(f"{where}.resources: Required value: must contain at least one resource")
    if not isinstance(providers, list) or not providers:
        raise ValueError(f"{where}.providers: Required value: must contain at least one provider")
    found = [each for at, one in enumerate(providers) for each in _providers(one, f"{where}.providers[{at}]")]
    prefixes = {prefix.encode() for name in names for prefix in _prefixes(str(name))}
    return Rule(tuple(sorted(prefixes)), tuple(found), "*.*" in names)


def _prefixes(name: str) -> Iterator[str]:
    """Where the objects of a configured resource stand: `secrets`, `deployments.apps`, `*.` (core), `*.apps`, `*.*`."""
    plural, _, group = name.partition(".")
    if plural != "*":
        yield layout.prefix(group, plural)
        return
    for info in Scheme.load().resources:
        if group in ("*", info.resource.group):
            yield layout.prefix(info.resource.group, info.resource.plural)
    if "." in group:
        yield f"{layout.ROOT}{group}/"


def _providers(provider: Any, where: str) -> Iterator[Provider]:
    if not isinstance(provider, dict) or len(provider) != 1:
        raise ValueError(f"{where}: Invalid value: provider must contain exactly one of {', '.join(KEYED)}, identity")
    (kind, settings), *_ = provider.items()
    if kind == "identity":
        yield Identity()
        return
    if kind not in KEYED:
        raise ValueError(f'{where}: Unsupported value: "{kind}": supported values: {", ".join(KEYED)}, identity')
    keys = (settings or {}).get("keys")
    if not keys:
        raise ValueError(f"{where}.{kind}.keys: Required value: at least one key is required")
    for index, key in enumerate(keys):
        yield _keyed(kind, key, f"{where}.{kind}.keys[{index}]")


def _keyed(kind: str, key: Any, where: str) -> Provider:
    make, lengths = KEYED[kind]
    name = str(key.get("name") or "")
    if not name or ":" in name:
        raise ValueError(f"{where}.name: Invalid value: must be there and contain no colon")
    try:
        secret = base64.b64decode(str(key.get("secret") or ""), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{where}.secret: Invalid value: must be base64 encoded") from None
    if len(secret) not in lengths:
        wanted = ", ".join(map(str, lengths))
        raise ValueError(f"{where}.secret: Invalid value: is {len(secret)} bytes long, must be one of {wanted}")
    return make(name, secret)
