"""The programs of README.md and docs/store-client.md run, and print what they say."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kvstore.client.conftest import EtcdProcess

ROOT = Path(__file__).resolve().parents[3]
ENDPOINTS = re.compile(r'\["127\.0\.0\.1:2379"[^\]]*\]')

EXPECTED = {
    "config": "b'debug'\n",
    "locks": "written\n",
    "elections": r"(one|two) leads with token \d+\n(one|two) leads with token \d+\n",
    "thumbnails": "resizing urgent.png\nresizing holiday.png\nresizing archive.png\n0 left\n",
    "accounts": r"\[b'90', b'10'\]\n",
}


def recipes() -> list[str]:
    """The Python blocks of README.md that use the store."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [block for block in blocks if "kvstore.client" in block]


def test_every_recipe_is_known_here() -> None:
    assert [next(name for name in EXPECTED if f'b"{name}' in block) for block in recipes()] == list(EXPECTED)


@pytest.mark.parametrize("index", range(len(EXPECTED)), ids=list(EXPECTED))
def test_a_recipe_does_what_it_says(shared_etcd: EtcdProcess, index: int) -> None:
    program, replaced = ENDPOINTS.subn(f'["{shared_etcd.endpoint}"]', recipes()[index])
    assert replaced == 1
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(list(EXPECTED.values())[index], done.stdout)


def test_the_constructor_of_the_documentation_is_one(tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "store-client.md").read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "block.py").write_text(block[1])
    client = runpy.run_path(str(tmp_path / "block.py"))["client"]
    assert len(client.endpoints) == 3
