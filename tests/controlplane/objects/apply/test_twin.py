"""Apply and update against a slow, obvious twin: keys, their values and who owns them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects.apply import ConflictError, apply, managers, sets, tracked
from tests.controlplane.objects.apply.support import config_map, deployment, plain, request, service

Flat = dict[str, Any]
APPLIERS, UPDATERS = ("a1", "a2", "a3"), ("u1", "u2")
DATA = st.dictionaries(st.sampled_from("wxyz"), st.sampled_from("12"), max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.sampled_from(APPLIERS), DATA, st.booleans()),
        st.tuples(st.just("update"), st.sampled_from(UPDATERS), DATA, st.just(True)),
    ),
    min_size=1,
    max_size=10,
)


class Twin:
    """A ConfigMap as anybody would explain it."""

    def __init__(self) -> None:
        self.data: Flat = {}
        self.owners: dict[str, set[str]] = {}

    def _take(self, key: str, value: str, who: str, *, applies: bool) -> None:
        if self.data.get(key) != value:
            self.owners[key] = {who}
        elif applies:
            self.owners.setdefault(key, set()).add(who)
        self.data[key] = value

    def conflicts(self, who: str, wanted: Flat) -> set[tuple[str, str]]:
        return {
            (other, key)
            for key, value in wanted.items()
            for other in self.owners.get(key, set()) - {who}
            if self.data.get(key) != value
        }

    def apply(self, who: str, wanted: Flat) -> None:
        for key in [key for key, owners in self.owners.items() if who in owners and key not in wanted]:
            self.owners[key].discard(who)
            if not self.owners[key]:
                del self.owners[key], self.data[key]
        for key, value in wanted.items():
            self._take(key, value, who, applies=True)

    def update(self, who: str, wanted: Flat) -> None:
        for key in self.data.keys() - wanted.keys():
            del self.data[key], self.owners[key]
        for key, value in wanted.items():
            self._take(key, value, who, applies=False)


def without_data(obj: Flat) -> Flat:
    return {name: value for name, value in obj.items() if name != "data"}


def owners_of(obj: Flat) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for who, owned in managers.stored(managers.carried(obj)).items():
        for path in sets.paths(owned.fields):
            if path[0] == "f:data" and len(path) == 2:
                found.setdefault(path[1][2:], set()).add(who.name)
    return found


@given(STEPS)
def test_owners_and_values_are_those_of_the_twin(steps: list[tuple[str, str, Flat, bool]]) -> None:
    twin = Twin()
    # something that an applier keeps, so that the object never is without owners
    live = apply(request(config_map(), "keeper"), None, config_map(labels={"kept": "1"}))
    for verb, who, wanted, force in steps:
        if verb == "update":
            twin.update(who, wanted)
            live = tracked(request(live, who), live, {**without_data(live), **({"data": wanted} if wanted else {})})
        else:
            expected = set() if force else twin.conflicts(who, wanted)
            try:
                live = apply(request(live, who), live, config_map(wanted or None), force=force)
            except ConflictError as error:
                found = {(conflict.manager.name, conflict.path[1][2:]) for conflict in error.conflicts}
                assert found == expected
                continue
            assert not expected
            twin.apply(who, wanted)
        assert (live.get("data") or {}) == twin.data
        assert owners_of(live) == twin.owners


ENV = st.lists(st.sampled_from("ABCD"), unique=True, max_size=3).flatmap(
    lambda names: st.tuples(
        *(st.fixed_dictionaries({"name": st.just(n), "value": st.sampled_from("12")}) for n in names)
    )
)
CONTAINERS = st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3).flatmap(
    lambda names: st.tuples(
        *(
            st.fixed_dictionaries(
                {"name": st.just(n)},
                optional={"image": st.sampled_from("12"), "env": ENV.map(list), "args": st.just(["x"])},
            )
            for n in names
        )
    )
)


@given(CONTAINERS, CONTAINERS)
def test_an_apply_is_idempotent_on_anybodys_object(live: Any, config: Any) -> None:
    wanted = deployment(list(config))
    made = tracked(request(wanted, "other"), None, deployment(list(live), paused=True))
    once = apply(request(wanted, "me"), made, wanted, force=True)
    again = apply(request(wanted, "me"), once, wanted)
    assert again == once
    for container in wanted["spec"]["template"]["spec"]["containers"]:
        found = [each for each in once["spec"]["template"]["spec"]["containers"] if each["name"] == container["name"]]
        assert len(found) == 1
        for name in container.keys() - {"env"}:
            assert found[0][name] == container[name]


@given(CONTAINERS, CONTAINERS)
def test_what_two_managers_apply_does_not_depend_on_what_one_said_before(before: Any, after: Any) -> None:
    """Applying one configuration and then another is applying the other alone, for fields that nobody else has."""
    wanted = deployment(list(after))
    first = apply(request(wanted, "me"), None, deployment(list(before)))
    second = apply(request(wanted, "me"), first, wanted)
    alone = apply(request(wanted, "me"), None, wanted)
    assert _sorted(plain(second)) == _sorted(plain(alone))
    assert managers.stored(managers.carried(second)) == managers.stored(managers.carried(alone))


def _sorted(obj: Flat) -> Flat:
    """Without regard to the order of keyed items and to empty lists, which decoding drops."""
    pod = obj["spec"]["template"].get("spec") or {}
    containers = [
        {
            **{k: v for k, v in each.items() if k != "env" or v},
            **({"env": sorted(each["env"], key=lambda env: str(env["name"]))} if each.get("env") else {}),
        }
        for each in sorted(pod.get("containers") or [], key=lambda each: str(each["name"]))
    ]
    return {
        **obj,
        "spec": {**obj["spec"], "template": {"metadata": obj["spec"]["template"]["metadata"], "spec": containers}},
    }


PORTS = st.sets(st.sampled_from([80, 81, 443]), max_size=3).map(
    lambda found: [{"port": port} for port in sorted(found)]
)


@given(PORTS, PORTS)
def test_who_applies_nothing_any_more_leaves_what_the_other_applied(mine: Any, theirs: Any) -> None:
    one = apply(request(service([]), "me"), None, service(mine, sessionAffinity="None"))
    both = apply(request(service([]), "they"), one, service(theirs))
    nothing = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    left = apply(request(service([]), "me"), both, nothing)
    assert sorted(map(str, (left.get("spec") or {}).get("ports") or [])) == sorted(map(str, theirs))
    assert "sessionAffinity" not in (left.get("spec") or {})
    assert [each["manager"] for each in managers.carried(left)] == (["they"] if theirs else [])
