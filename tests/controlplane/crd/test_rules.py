"""CEL rules in schemas."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.apiserver.cel import program
from controlplane.machinery.client import ApiClient
from controlplane.objects.status import ApiError
from tests.controlplane.crd.conftest import CRON_TABS, cron_tab, defined, definition

Object = dict[str, Any]

needs_cel = pytest.mark.skipif(not program.is_available(), reason="the extra [cel] is not installed")


def ruled(*rules: Object, on: str = "spec") -> Object:
    crd = definition()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    owner = spec if on == "spec" else spec["properties"][on]
    owner["x-kubernetes-validations"] = list(rules)
    return crd


async def refusal(client: ApiClient, obj: Object) -> list[tuple[str, str, str]]:
    with pytest.raises(ApiError) as caught:
        await client.create(CRON_TABS, obj, "default")
    assert caught.value.code == 422
    return [(each["reason"], each["field"], each["message"]) for each in caught.value.details["causes"]]


@needs_cel
async def test_a_broken_rule_says_its_message(client: ApiClient) -> None:
    await defined(client, ruled({"rule": "self.replicas < 5", "message": "too many"}))
    await client.create(CRON_TABS, cron_tab("ok", replicas=4), "default")
    assert await refusal(client, cron_tab(replicas=6)) == [
        ("FieldValueInvalid", "spec", 'Invalid value: "object": too many')
    ]


@needs_cel
async def test_a_rule_may_say_where_and_why(client: ApiClient) -> None:
    rule = {
        "rule": "self.replicas < 5",
        "messageExpression": "'at most 4, not ' + string(self.replicas)",
        "fieldPath": ".replicas",
        "reason": "FieldValueForbidden",
    }
    await defined(client, ruled(rule))
    assert await refusal(client, cron_tab(replicas=6)) == [
        ("FieldValueForbidden", "spec.replicas", "Forbidden: at most 4, not 6")
    ]


@needs_cel
async def test_a_transition_rule_looks_at_changes_only(client: ApiClient) -> None:
    await defined(client, ruled({"rule": "self == oldSelf", "message": "is fixed"}, on="image"))
    made = await client.create(CRON_TABS, cron_tab(image="a"), "default")
    with pytest.raises(ApiError, match=r'spec\.image: Invalid value: "string": is fixed'):
        await client.update(CRON_TABS, {**made, "spec": {**made["spec"], "image": "b"}})
    await client.update(CRON_TABS, {**made, "spec": {**made["spec"], "replicas": 2}})


@needs_cel
async def test_a_rule_that_fails_on_its_values_refuses(client: ApiClient) -> None:
    await defined(client, ruled({"rule": "self.color == 'red'"}))
    assert await refusal(client, cron_tab()) == [
        (
            "FieldValueInvalid",
            "spec",
            "Invalid value: \"object\": no such key: color evaluating rule: failed rule: self.color == 'red'",
        )
    ]


@needs_cel
async def test_a_rule_that_does_not_compile_is_refused_with_its_definition(client: ApiClient) -> None:
    with pytest.raises(ApiError, match="compilation failed") as caught:
        await defined(client, ruled({"rule": "self.replicas <"}))
    (cause,) = caught.value.details["causes"]
    assert cause["field"] == "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"


async def test_without_the_library_a_rule_is_refused_not_ignored(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "is_available", lambda: False)
    program.compile_expression.cache_clear()
    with pytest.raises(ApiError, match=r"pip install 'pilothouse\[cel\]'"):
        await defined(client, ruled({"rule": "self.replicas < 5"}))


@needs_cel
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("quantity('1Gi').isGreaterThan(quantity('500Mi'))", True),
        ("quantity('2k').asInteger()", 2000),
        ("url('https://a.example:80/x').getHostname()", "a.example"),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", True),
        ("'abc 12 34'.findAll('[0-9]+')", ["12", "34"]),
        ("[1, 2, 3].sum()", 6),
        ("[3, 1].isSorted()", False),
        ("self.?gone.orValue(7)", 7),
        ("isIP('::1') && !isCIDR('1.2.3.4')", True),
    ],
)
def test_the_functions_of_kubernetes_are_there(expression: str, value: Any) -> None:
    assert program.compile_expression(expression, ("self",))({"self": {}}) == value
