"""Bodies in YAML: what they say twice is told as Kubernetes' decoder tells it."""

from __future__ import annotations

import json

from controlplane.apiserver import negotiate
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS

TEXT = b"""apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  name: a
data:
  k: one
  l: two
  k: three
unknown: 1
"""
LINES = ['line 5: key "name" already set in map', 'line 9: key "k" already set in map']


async def test_keys_that_stand_twice_are_refused_or_warned_of(client: ApiClient) -> None:
    path, headers = CONFIG_MAPS.path("default"), {"content-type": "application/yaml"}
    strict = await client.raw("POST", path, TEXT, headers, {"fieldValidation": "Strict"})
    assert strict.status == 400
    whole = "strict decoding error: yaml: unmarshal errors:\n  " + "\n  ".join(LINES) + ', unknown field "unknown"'
    assert json.loads(strict.body)["message"].endswith(whole)
    warned = await client.raw("POST", path, TEXT, headers, {"fieldValidation": "Warn"})
    assert warned.status == 201 and json.loads(warned.body)["data"] == {"k": "three", "l": "two"}
    assert warned.headers["warning"] == '299 - "unknown field \\"unknown\\""', "the last of several"


async def test_an_applied_configuration_says_nothing_twice(client: ApiClient) -> None:
    path, headers = CONFIG_MAPS.path("default", "a"), {"content-type": "application/apply-patch+yaml"}
    text = TEXT.removesuffix(b"unknown: 1\n")
    strict = await client.raw("PATCH", path, text, headers, {"fieldValidation": "Strict", "fieldManager": "m"})
    assert strict.status == 400 and all(line in json.loads(strict.body)["message"] for line in LINES)
    warned = await client.raw("PATCH", path, text, headers, {"fieldManager": "m"})
    assert warned.status == 201 and "already set in map" in warned.headers["warning"]


def test_aliases_are_walked_once() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 60)]
    assert negotiate.repeated_keys("\n".join(lines).encode()) == []


async def test_an_unknown_mode_is_told_what_there_is(client: ApiClient) -> None:
    answer = await client.raw(
        "POST", CONFIG_MAPS.path("default"), TEXT, {"content-type": "application/yaml"}, {"fieldValidation": "x"}
    )
    wanted = 'fieldValidation: Unsupported value: "x": supported values: "Ignore", "Strict", "Warn"'
    assert answer.status == 400 and wanted in json.loads(answer.body)["message"]
