"""Which rule of an audit policy a request meets."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from controlplane.apiserver import request
from controlplane.apiserver.audit.policy import LEVELS, parse
from controlplane.apiserver.authn.user import User

JANE = User("jane", ("developers", "system:authenticated"))
PODS = "/api/v1/namespaces/a/pods"


def policy(*rules: dict[str, Any], **more: Any) -> str:
    return yaml.safe_dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more})


def level(rule: dict[str, Any], method: str, path: str, user: User = JANE) -> str:
    found = parse(policy({"level": "Request", **rule})).of(user, request.parse(method, path, {}))
    return LEVELS[found.level]


@pytest.mark.parametrize(
    ("rule", "method", "path", "matches"),
    [
        ({}, "GET", PODS, True),
        ({}, "GET", "/healthz", True),
        ({"users": ["jane"]}, "GET", PODS, True),
        ({"users": ["joe"]}, "GET", PODS, False),
        ({"userGroups": ["developers"]}, "GET", PODS, True),
        ({"userGroups": ["others"]}, "GET", PODS, False),
        ({"verbs": ["list"]}, "GET", PODS, True),
        ({"verbs": ["list"]}, "POST", PODS, False),
        ({"namespaces": ["a"]}, "GET", PODS, True),
        ({"namespaces": ["b"]}, "GET", PODS, False),
        ({"namespaces": [""]}, "GET", "/api/v1/nodes/n", True),
        ({"namespaces": ["a"]}, "GET", "/healthz", False),
        ({"resources": [{"group": ""}]}, "GET", PODS, True),
        ({"resources": [{"group": "apps"}]}, "GET", PODS, False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, "GET", f"{PODS}/p", True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, "GET", f"{PODS}/p/log", False),
        ({"resources": [{"group": "", "resources": ["pods/log"]}]}, "GET", f"{PODS}/p/log", True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, "GET", f"{PODS}/p/log", True),
        ({"resources": [{"group": "", "resources": ["*/log"]}]}, "GET", f"{PODS}/p/log", True),
        ({"resources": [{"group": "", "resources": ["*/status"]}]}, "GET", f"{PODS}/p/log", False),
        ({"resources": [{"group": "", "resources": ["*"]}]}, "GET", f"{PODS}/p/log", True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["p"]}]}, "GET", f"{PODS}/p", True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["q"]}]}, "GET", f"{PODS}/p", False),
        ({"nonResourceURLs": ["/healthz*", "/version"]}, "GET", "/healthz/ping", True),
        ({"nonResourceURLs": ["/version"]}, "GET", "/version/x", False),
        ({"nonResourceURLs": ["*"]}, "GET", PODS, False),
    ],
)
def test_a_rule_matches_what_all_its_fields_match(rule: dict[str, Any], method: str, path: str, matches: bool) -> None:
    assert level(rule, method, path) == ("Request" if matches else "None")


def test_the_first_rule_that_matches_counts() -> None:
    text = policy({"level": "None", "users": ["jane"]}, {"level": "Metadata"}, omitStages=["RequestReceived"])
    found, info = parse(text), request.parse("GET", PODS, {})
    assert found.of(JANE, info).level == 0
    joe = found.of(User("joe"), info)
    assert LEVELS[joe.level] == "Metadata" and joe.omitted_stages == {"RequestReceived"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "cannot be read"),
        ("kind: Policy", "must be of audit.k8s.io/v1"),
        (policy(), "has no rules"),
        (policy({"level": "All"}), r'rules\[0\].level: Unsupported value: "All"'),
        (policy({"level": "None", "omitStages": ["x"]}), 'Invalid value: "x"'),
        (policy({"level": "None", "nonResourceURLs": ["*"], "namespaces": ["a"]}), "both regular resources and URLs"),
    ],
)
def test_a_policy_that_cannot_be_used_says_where_it_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)
