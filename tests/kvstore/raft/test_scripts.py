"""The well-known scenarios, each a script that prints what it did (tests/kvstore/raft/scripts; REWRITE=1 renews them)."""

import os
from pathlib import Path

import pytest

from tests.kvstore.raft.script import run

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_prints_what_is_written_in_it(path: Path) -> None:
    text = path.read_text()
    printed = run(text)
    if os.environ.get("REWRITE"):
        path.write_text(printed)
    else:
        assert printed == text
