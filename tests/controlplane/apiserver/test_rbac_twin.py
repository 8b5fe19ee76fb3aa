"""RBAC against a slow, obvious twin that reads every binding, role and rule for each question, as the documentation says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.admission.escalation import covers
from controlplane.apiserver.authn.user import User
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.rbac import Policy
from controlplane.apiserver.authz.rules import Rule

Object = dict[str, Any]

VERBS = st.sampled_from(["get", "list", "create", "*"])
GROUPS = st.sampled_from(["", "apps", "*"])
RESOURCES = st.sampled_from(["pods", "pods/log", "*/log", "deployments", "*"])
NAMES = st.sampled_from(["a", "b"])
NAMESPACES = st.sampled_from(["x", "y"])
PATHS = st.sampled_from(["/metrics", "/logs/*", "/logs", "*"])
WHO = st.sampled_from(["ann", "bob", "dev", "ops", "system:serviceaccount:x:robot"])

resource_rules = st.builds(
    lambda verbs, groups, resources, names: {
        "verbs": verbs,
        "apiGroups": groups,
        "resources": resources,
        **({"resourceNames": names} if names else {}),
    },
    st.lists(VERBS, min_size=1, max_size=2, unique=True),
    st.lists(GROUPS, min_size=1, max_size=2, unique=True),
    st.lists(RESOURCES, min_size=1, max_size=2, unique=True),
    st.lists(NAMES, max_size=1),
)
path_rules = st.builds(
    lambda verbs, paths: {"verbs": verbs, "nonResourceURLs": paths},
    st.lists(VERBS, min_size=1, max_size=2, unique=True),
    st.lists(PATHS, min_size=1, max_size=2, unique=True),
)
subjects = st.one_of(
    st.builds(lambda name: {"kind": "User", "name": name}, WHO),
    st.builds(lambda name: {"kind": "Group", "name": name}, WHO),
    st.just({"kind": "ServiceAccount", "name": "robot", "namespace": "x"}),
)


@st.composite
def roles(draw: st.DrawFn) -> Object:
    cluster = draw(st.booleans())
    metadata: Object = {"name": draw(NAMES)}
    if not cluster:
        metadata["namespace"] = draw(NAMESPACES)
    elif draw(st.booleans()):
        metadata["labels"] = {"for": draw(NAMES)}
    role: Object = {
        "kind": "ClusterRole" if cluster else "Role",
        "metadata": metadata,
        "rules": draw(st.lists(st.one_of(resource_rules, path_rules), max_size=3)),
    }
    if cluster and draw(st.integers(0, 3)) == 0:
        role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"for": draw(NAMES)}}]}
    return role


@st.composite
def bindings(draw: st.DrawFn) -> Object:
    cluster = draw(st.booleans())
    metadata: Object = {"name": draw(NAMES)}
    if not cluster:
        metadata["namespace"] = draw(NAMESPACES)
    kind = "ClusterRole" if cluster else draw(st.sampled_from(["Role", "ClusterRole"]))
    return {
        "metadata": metadata,
        "roleRef": {"kind": kind, "name": draw(NAMES)},
        "subjects": draw(st.lists(subjects, max_size=2)),
    }


questions = st.one_of(
    st.builds(
        lambda verb, group, resource, sub, name, namespace: Attributes(
            verb, group, "v1", resource, sub, name, namespace
        ),
        st.sampled_from(["get", "list", "delete"]),
        st.sampled_from(["", "apps"]),
        st.sampled_from(["pods", "deployments"]),
        st.sampled_from(["", "log"]),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "x", "y"]),
    ),
    st.builds(
        lambda verb, path: Attributes(verb, path=path),
        st.sampled_from(["get", "create"]),
        st.sampled_from(["/metrics", "/logs", "/logs/a", "/logsx", "/"]),
    ),
)
users = st.builds(User, WHO, st.lists(WHO, max_size=2).map(tuple))


def _rule_allows(rule: Object, asked: Attributes) -> bool:
    if "*" not in rule["verbs"] and asked.verb not in rule["verbs"]:
        return False
    if asked.path:
        for pattern in rule.get("nonResourceURLs", []):
            if pattern == "*" or pattern == asked.path:
                return True
            if pattern.endswith("*") and asked.path.startswith(pattern.removesuffix("*")):
                return True
        return False
    if "resources" not in rule or ("*" not in rule["apiGroups"] and asked.group not in rule["apiGroups"]):
        return False
    if rule.get("resourceNames") and asked.name not in rule["resourceNames"]:
        return False
    wanted = asked.resource + ("/" + asked.subresource if asked.subresource else "")
    return any(
        resource in ("*", wanted) or (asked.subresource and resource == "*/" + asked.subresource)
        for resource in rule["resources"]
    )


def _is_meant(subject: Object, user: User) -> bool:
    if subject["kind"] == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    return user.name == subject["name"] if subject["kind"] == "User" else subject["name"] in user.groups


def _rules(role: Object, all_roles: list[Object]) -> list[Object]:
    rules = list(role["rules"])
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors", []):
        for other in all_roles:
            labels = other["metadata"].get("labels") or {}
            if (
                other["kind"] == "ClusterRole"
                and other is not role
                and labels.get("for") == selector["matchLabels"]["for"]
            ):
                rules += other["rules"]
    return rules


def _allows(all_roles: list[Object], all_bindings: list[Object], user: User, asked: Attributes) -> bool:
    for binding in all_bindings:
        namespace = binding["metadata"].get("namespace", "")
        if namespace and namespace != asked.namespace:
            continue
        if not any(_is_meant(subject, user) for subject in binding["subjects"]):
            continue
        for role in all_roles:
            where = role["metadata"].get("namespace", "")
            reference = binding["roleRef"]
            same = role["metadata"]["name"] == reference["name"] and role["kind"] == reference["kind"]
            if same and where in ("", namespace) and any(_rule_allows(rule, asked) for rule in _rules(role, all_roles)):
                return True
    return False


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _binding_key(obj: Object) -> bytes:
    return "/".join(_key(obj)).encode()


@given(
    st.lists(roles(), max_size=5), st.lists(bindings(), max_size=5), users, st.lists(questions, max_size=5), st.data()
)
def test_rbac_says_what_reading_everything_says(
    some_roles: list[Object], some_bindings: list[Object], user: User, asked: list[Attributes], data: st.DataObject
) -> None:
    policy = Policy()
    role_of: dict[tuple[str, str], Object] = {}
    binding_of: dict[bytes, Object] = {}
    for role in some_roles:
        policy.set_role(role)
        role_of[_key(role)] = role
    for binding in some_bindings:
        policy.set_binding(_binding_key(binding), binding)
        binding_of[_binding_key(binding)] = binding
    for role in data.draw(st.lists(st.sampled_from(some_roles), max_size=2)) if some_roles else []:
        policy.set_role(role, gone=True)
        role_of.pop(_key(role), None)
    for binding in data.draw(st.lists(st.sampled_from(some_bindings), max_size=2)) if some_bindings else []:
        policy.set_binding(_binding_key(binding), None)
        binding_of.pop(_binding_key(binding), None)
    for question in asked:
        expected = _allows(list(role_of.values()), list(binding_of.values()), user, question)
        assert policy.decide(user, question).allowed == expected, question


@given(st.lists(resource_rules, max_size=3), resource_rules, questions)
def test_who_may_grant_a_rule_may_do_what_it_allows(held: list[Object], wanted: Object, asked: Attributes) -> None:
    """Soundness of the escalation check: nothing that the granted rule allows is refused to its giver."""
    if covers([Rule.of(rule) for rule in held], Rule.of(wanted)) and _rule_allows(wanted, asked):
        assert any(_rule_allows(rule, asked) for rule in held)
