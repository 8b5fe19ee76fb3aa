"""A report needs no network, stays small, shows the window of a violation; check and report tell by their exit codes."""

import json
import re
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from chaos.checkers import judge_history
from chaos.command import chaos
from chaos.history import History, Logged, Operation, Outcome, save_history
from chaos.observed import Episode, Led
from chaos.report import render
from chaos.report.digest import MOST_LANES, digest, terms
from chaos.report.window import windows


def run_of(count: int, clients: int = 10) -> History:
    """Return a right run of registers with faults and leaders."""
    random = Random(count)
    latest: dict[str, Logged] = {}
    history = History(about={"seed": 7})
    for number in range(count):
        key, called = f"r/{random.randrange(8)}", number / 100
        returned = called + random.random() / 50
        before = latest.get(key)
        if number % 3:
            value, mod = (before.value, before.revision) if before else (None, 0)
            revision = len(history.log) + 1
            history.operations.append(
                Operation(number % clients, "get", key, value, called, called + 1e-3, Outcome.OK, revision, mod)
            )
        else:
            latest[key] = Logged(len(history.log) + 2, key, f"v{number}")
            history.log.append(latest[key])
            revision = latest[key].revision
            history.operations.append(
                Operation(number % clients, "put", key, f"v{number}", called, returned, Outcome.OK, revision, revision)
            )
    history.episodes += [Episode("kill", ("s1",), 1.0, 2.0, 2.5), Episode("kill all <b>", (), 3.0, 4.0)]
    history.led += [Led("s1", 2, 0.0), Led("s2", 3, 1.2), Led("s2", 3, 1.9)]
    return history


def wrong_run() -> History:
    history = run_of(300)
    first, second = [each for each in history.operations if each.kind == "put" and each.key == "r/1"][:2]
    late = second.returned + 1
    history.operations.append(
        Operation(99, "get", "r/1", first.value, late, late + 1, Outcome.OK, first.revision, first.mod_revision)
    )
    return history


def document_of(page: str) -> dict[str, list[dict[str, object]]]:
    found = re.search(r'<script type="application/json" id="document">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    document: dict[str, list[dict[str, object]]] = json.loads(found[1])
    return document


def test_the_window_of_a_stale_read_is_a_circle_of_few() -> None:
    history = wrong_run()
    verdicts = judge_history(history)
    found = windows(history, history.all_transactions(), verdicts)
    assert {window.title for window in found} >= {"registers", "serial"}
    for window in found:
        assert len(window.transactions) <= 4
    assert {edge.why for edge in found[0].circle} == {"rt", "rw"}


def test_a_page_asks_for_nothing_from_anywhere_and_runs_nothing_it_was_told() -> None:
    history = wrong_run()
    history.about["note"] = "</script><script>alert(1)</script>"
    page = render(history, judge_history(history))
    outside = page.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in outside and "https:" not in outside and "src=" not in outside and "@import" not in outside
    assert "<script>alert" not in page and "kill all <b>" not in page
    assert page.count("<script") == 2
    assert "SAFETY VIOLATED" in page
    assert len(document_of(page)["windows"]) >= 2


def test_a_right_run_says_so() -> None:
    history = run_of(300)
    page = render(history, judge_history(history))
    assert "every promise held" in page
    assert document_of(page)["windows"] == []


def test_many_requests_and_clients_are_thinned_out_and_the_page_stays_small() -> None:
    history = run_of(30_000, clients=500)
    transactions = history.all_transactions()
    document = digest(history, transactions, {29_999}).document
    assert document["total"] == 30_000
    assert 4_000 < document["shown"] < 9_000
    assert len(document["lanes"]) == MOST_LANES
    assert sum(document["buckets"]["rates"]["ok"]) * document["buckets"]["width"] == pytest.approx(30_000, rel=0.01)
    assert len(json.dumps(document)) < 1_000_000


def test_who_led_when_is_told_by_the_first_that_saw_a_later_term() -> None:
    assert terms(run_of(1).led, 10.0) == [("s1", 0.0, 1.2, 2), ("s2", 1.2, 10.0, 3)]


@pytest.mark.parametrize(
    ("history", "code", "word"),
    [
        (run_of(100), 0, "every promise held"),
        (wrong_run(), 3, "SAFETY VIOLATED"),
        (History(episodes=[Episode("pause", ("s1",), 1, 2, 90)]), 4, "NOT LIVE"),
    ],
)
def test_exit_codes_tell_safety_from_liveness(tmp_path: Path, history: History, code: int, word: str) -> None:
    file = tmp_path / "h.jsonl"
    save_history(file, history)
    runner = CliRunner()
    checked = runner.invoke(chaos, ["check", str(file)])
    assert (checked.exit_code, checked.output.splitlines()[-1]) == (code, word)
    document = json.loads(runner.invoke(chaos, ["check", str(file), "-o", "json"]).output)
    assert (document["safe"], document["live"]) == (code != 3, code != 4)
    reported = runner.invoke(chaos, ["report", str(file)])
    assert (reported.exit_code, reported.output.strip()) == (code, str(tmp_path / "h.html"))
    assert word in (tmp_path / "h.html").read_text()


def test_what_is_no_history_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "h").write_text("dream\n")
    refused = CliRunner().invoke(chaos, ["check", str(tmp_path / "h")])
    assert refused.exit_code == 1
    assert ":1: not a line of a history" in refused.output
    assert CliRunner().invoke(chaos, ["report", str(tmp_path / "none")]).exit_code == 2
