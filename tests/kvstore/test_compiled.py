"""Machine code runs only where it was made from the sources that are there, and nobody asked for plain Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvstore import compiled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sources, and the manifest of their compilation."""
    for name in compiled.names():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / compiled.MANIFEST.name).write_bytes(compiled.manifest(tmp_path))
    return tmp_path


def test_every_module_that_may_be_compiled_is_there() -> None:
    package = compiled.MANIFEST.parent
    assert [name for name in compiled.names() if not (package / name).is_file()] == []


def test_machine_code_of_these_sources_may_run(folder: Path) -> None:
    assert compiled.why_plain(folder, {}) is None


def test_a_source_that_was_only_touched_is_the_same_source(folder: Path) -> None:
    os.utime(folder / "raft/core.py", (2_000_000_000, 2_000_000_000))
    assert compiled.why_plain(folder, {}) is None


def test_an_edited_source_is_never_shadowed_and_is_named(folder: Path) -> None:
    (folder / "raft/core.py").write_text("# another\n")
    os.utime(folder / "raft/core.py", (2_000_000_000, 2_000_000_000))
    reason = compiled.why_plain(folder, {})
    assert reason is not None
    assert "kvstore/raft/core.py" in reason


def test_without_a_manifest_there_is_nothing_to_explain(folder: Path) -> None:
    (folder / compiled.MANIFEST.name).unlink()
    assert compiled.why_plain(folder, {}) == ""


def test_another_pythons_machine_code_does_not_run(folder: Path) -> None:
    manifest = folder / compiled.MANIFEST.name
    manifest.write_bytes(manifest.read_bytes().replace(b".so", b".other"))
    assert compiled.why_plain(folder, {})


@pytest.mark.parametrize(("value", "is_asked"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_plain_python_can_be_asked_for(folder: Path, value: str, is_asked: bool) -> None:
    assert (compiled.why_plain(folder, {compiled.PURE: value}) is not None) is is_asked


def test_a_process_that_asked_for_plain_python_runs_the_sources() -> None:
    program = "import kvstore.raft.core, kvstore.mvcc.wire as wire; print(kvstore.raft.core.__file__, wire.__file__)"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, compiled.PURE: "1"}, capture_output=True, text=True)
    core, wire = done.stdout.split()
    assert core.endswith("/raft/core.py")
    assert wire.endswith("/mvcc/wire.py")


def test_what_runs_here_is_what_is_said() -> None:
    import kvstore.raft.core

    is_source = str(kvstore.raft.core.__file__).endswith(".py")
    assert compiled.build().startswith("plain Python" if is_source else "compiled")
