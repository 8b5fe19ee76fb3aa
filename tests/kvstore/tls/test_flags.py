"""Every flag of a real etcd is taken, taken without effect for a reason, or refused for one."""

import re
import subprocess

import pytest

from kvstore.flags import ALIASES, BOOLEANS, OWN_FLAGS, REFUSED_FLAGS, SERVER_BOOLEANS, SERVER_FLAGS, WITHOUT_EFFECT
from tests.kvstore.api.processes import ETCD, ROOT

TABLES = (OWN_FLAGS, SERVER_FLAGS, ALIASES, WITHOUT_EFFECT, REFUSED_FLAGS)


@pytest.mark.parametrize("program", [ETCD, str(ROOT / ".venv" / "tools" / "etcd-3.5")])
def test_every_flag_that_etcd_tells_of_has_its_place(program: str) -> None:
    try:
        told = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30)
    except OSError:
        pytest.skip(f"{program} is not installed (make tools)")
    flags = set(re.findall(r"^  --([a-z0-9-]+)", told.stdout + told.stderr, re.MULTILINE)) - {"config-file"}
    assert len(flags) > 60
    assert not sorted(flag for flag in flags if not any(flag in table for table in TABLES))


def test_every_flag_has_one_place_and_the_documentation_names_those_without_effect() -> None:
    names = [name for table in TABLES for name in table]
    assert len(names) == len(set(names))
    assert set(BOOLEANS) <= set(OWN_FLAGS)
    assert set(SERVER_BOOLEANS) <= set(SERVER_FLAGS)
    text = (ROOT / "docs" / "compatibility.md").read_text()
    assert not [name for name in (*WITHOUT_EFFECT, *REFUSED_FLAGS) if f"`{name.removeprefix('experimental-')}`" not in text]
