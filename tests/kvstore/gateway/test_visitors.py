"""--cors and --host-whitelist, as a real etcd answers."""

import http.client
from pathlib import Path

import pytest

from kvstore.api import VisitorRules
from kvstore.rpc import Http1Request, Http1Response
from tests.kvstore.api.processes import ROOT, needs_etcd, running_etcd
from tests.kvstore.libraries.test_libraries import running_ours

FLAGS = ("--cors=http://a.example:80", "--host-whitelist=good.example,127.0.0.2")
REQUESTS = [
    ("GET", "/version", {"host": "evil.example"}),
    ("GET", "/version", {"host": "good.example"}),
    ("GET", "/version", {"host": "good.example:2379", "origin": "http://a.example:80"}),
    ("GET", "/version", {"host": "127.0.0.2:80", "origin": "http://b.example:80"}),
    ("OPTIONS", "/v3/kv/range", {"host": "good.example", "origin": "http://a.example:80"}),
    ("OPTIONS", "/v3/kv/range", {"host": "good.example"}),
    ("POST", "/v3/kv/range", {"host": "good.example", "origin": "http://a.example:80"}),
]


def ask(endpoint: str) -> list[tuple[int, dict[str, str]]]:
    answers = []
    for method, path, headers in REQUESTS:
        connection = http.client.HTTPConnection(endpoint, timeout=10)
        connection.request(method, path, b'{"key": "YQ=="}' if method == "POST" else None, headers)
        answer = connection.getresponse()
        answer.read()
        cors = {name.lower(): text for name, text in answer.getheaders() if name.lower().startswith("access-control")}
        answers.append((answer.status, cors))
        connection.close()
    return answers


@needs_etcd
def test_pages_and_names_are_let_in_as_etcd_lets_them(tmp_path: Path) -> None:
    program = ROOT / ".venv" / "tools" / "etcd-3.5"
    if not program.exists():
        pytest.skip("etcd 3.5 could not be fetched (make tools)")
    with running_etcd(tmp_path, *FLAGS, program=str(program)) as endpoint:
        theirs = ask(endpoint)
    with running_ours(tmp_path, *FLAGS) as endpoint:
        assert ask(endpoint) == theirs
    assert [status for status, _ in theirs] == [421, 200, 200, 200, 200, 200, 200]


def _hello(request: Http1Request) -> Http1Response:
    return Http1Response(200, {"content-type": "text/plain"}, b"hello")


@pytest.mark.parametrize(
    ("host", "is_secure", "status"),
    [
        ("good", False, 200),
        ("good:1", False, 200),
        ("[::1]:1", False, 200),
        ("[::1]", False, 200),
        ("::1", False, 200),
        ("evil", False, 421),
        ("", False, 421),
        ("evil", True, 200),
    ],
)
def test_a_name_counts_without_its_port_and_over_plain_http_alone(host: str, is_secure: bool, status: int) -> None:
    handler = VisitorRules(host_names=frozenset(("good", "::1"))).over(_hello)
    answer = handler(Http1Request("GET", "/", "", {"host": host}, b"", is_secure=is_secure))
    assert isinstance(answer, Http1Response)
    assert answer.status == status


def test_by_default_every_page_may_ask_as_in_etcd() -> None:
    answer = VisitorRules().over(_hello)(Http1Request("GET", "/", "", {}, b""))
    assert isinstance(answer, Http1Response)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (answer.headers["content-type"], answer.body) == ("text/plain", b"hello")
