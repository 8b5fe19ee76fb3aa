"""Build the library of shim.c, and the environment that makes a process meet a fault."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("shim.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler for the library that injects faults")


@cache
def library(folder: Path) -> Path:
    """Compile it into `folder`."""
    target = folder / "shim.so"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-O2", "-w", "-shared", "-fPIC", "-o", str(target), str(SOURCE), "-ldl"], check=True)
    return target


def fault(
    folder: Path, call: str, action: str, path: str, *, at: int = 1, during: Path | None = None
) -> dict[str, str]:
    """Return the variables for the `at`-th `call` on a file whose path holds `path`, or for as long as `during` exists."""
    found = {
        "LD_PRELOAD": str(library(folder)),
        "FAULT_CALL": call,
        "FAULT_ACTION": action,
        "FAULT_PATH": path,
        "FAULT_AT": str(at),
    }
    return found if during is None else {**found, "FAULT_WHILE": str(during)}
