"""Label and field selectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects import selectors
from controlplane.objects.selectors import SelectorError, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True), ("app=web", True), ("app==web", True), ("app!=web", False), ("app!=api", True), ("x!=y", True),
        ("app in (web,api)", True), ("app notin (web,api)", False), ("x notin (a)", True), ("x in (a)", False),
        ("app", True), ("!app", False), ("x", False), ("!x", True), ("n>4", True), ("n<4", False), ("app>4", False),
        ("app=web,tier=front", True), ("app=web, tier=back", False), ("app=", False), ("x=", False),
        ("app in (web), !x , n>4", True),
    ],
)  # fmt: skip
def test_a_label_selector_matches_as_kubernetes_does(text: str, expected: bool) -> None:
    assert parse_labels(text).matches(LABELS) is expected


@pytest.mark.parametrize(
    "text", ["a=b=c", ",a", "a,", "a in b", "a in (b", "a b", "=x", "a>x", "-a=b", "a=b!", "a in (b c)"]
)
def test_what_is_no_label_selector_is_refused(text: str) -> None:
    with pytest.raises(SelectorError, match="unable to parse requirement"):
        parse_labels(text)


def test_the_object_form_distinguishes_nothing_and_everything() -> None:
    assert not selectors.from_selector(None).matches({})
    assert selectors.from_selector({}).matches({})
    assert not selectors.from_map({}).matches(LABELS)
    selector = selectors.from_selector(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "x", "operator": "DoesNotExist"},
                {"key": "n", "operator": "Exists"},
                {"key": "app", "operator": "NotIn", "values": ["api"]},
            ],
        }
    )
    assert selector.matches(LABELS)
    assert not selector.matches({"app": "web"})
    assert str(selector) == "app=web,app!=api,n,tier in (back,front),!x"
    with pytest.raises(SelectorError, match="is not a valid label selector operator"):
        selectors.from_selector({"matchExpressions": [{"key": "a", "operator": "Near"}]})


WORD = st.text("abc", min_size=1, max_size=2)


@given(st.dictionaries(WORD, WORD, max_size=3), st.dictionaries(WORD, WORD, max_size=3))
def test_a_written_selector_parses_to_itself_and_matches_its_supersets(
    wanted: dict[str, str], more: dict[str, str]
) -> None:
    selector = parse_labels(",".join(f"{key}={value}" for key, value in wanted.items()))
    assert parse_labels(str(selector)) == selector
    assert selector.matches({**more, **wanted})


def test_field_selectors_compare_text_and_unescape() -> None:
    fields = {"metadata.name": "a,b", "status.phase": "Running"}
    selector = parse_fields("metadata.name=a\\,b,status.phase!=Failed")
    assert selector.matches(lambda name: fields.get(name, ""))
    assert selector.exact("metadata.name") == "a,b"
    assert selector.exact("status.phase") is None
    assert parse_fields(str(selector)) == selector
    assert parse_fields("spec.nodeName==").matches(lambda name: "")
    assert parse_fields("").is_everything
    for text in ("metadata.name", "a=b=c", "a=b\\x"):
        with pytest.raises(SelectorError):
            parse_fields(text)
