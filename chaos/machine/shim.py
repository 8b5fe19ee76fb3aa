"""The library of shim.c: compiled on demand, ordered about by the environment or, live, by a page in a file."""

import mmap
import shutil
import struct
import subprocess
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["COMPILER", "Action", "Call", "Control", "environment", "library", "preload"]

SOURCE: Final = Path(__file__).with_name("shim.c")
COMPILER: Final = shutil.which("cc") or shutil.which("gcc")

_ORDER: Final = struct.Struct("=iiqqqq")  # call, action, at, value, hits, calls
_CLOCK: Final = struct.Struct("=qqq")  # offset, rate, lies
_PATH_BYTES: Final = 64
_SIZE: Final = _ORDER.size + _CLOCK.size + _PATH_BYTES


class Call(IntEnum):
    """The calls that an order is about."""

    NONE = 0
    SYNC = 1
    WRITE = 2


class Action(IntEnum):
    """What is done to them."""

    NONE = 0
    KILL = 1
    TORN = 2
    FAIL = 3
    DELAY = 4


@cache
def library(folder: Path) -> Path:
    """Compile it into `folder`."""
    target = folder / "shim.so"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-O2", "-w", "-shared", "-fPIC", "-o", str(target), str(SOURCE), "-ldl"], check=True)
    return target


def environment(
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


class Control:
    """One process's page of orders."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_bytes(bytes(_SIZE))
        with file.open("r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), _SIZE)

    def order(self, call: Call, action: Action, path: str = "", *, at: int = 1, value: int = 0) -> None:
        """From now on: see shim.c's `struct page`. The call is written last, so that no half order is followed."""
        self._page[_ORDER.size + _CLOCK.size :] = path.encode().ljust(_PATH_BYTES, b"\0")
        _ORDER.pack_into(self._page, 0, Call.NONE, action, at, value, 0, 0)
        struct.pack_into("=i", self._page, 0, call)

    def clear(self) -> None:
        """No call is hurt any more; `hits` stays to be read."""
        struct.pack_into("=ii", self._page, 0, Call.NONE, Action.NONE)

    @property
    def hits(self) -> int:
        """How often the last order was carried out."""
        return int(_ORDER.unpack_from(self._page)[4])

    def set_clock(self, *, offset_seconds: float | None = None, rate: float | None = None) -> None:
        """Let the clocks of the process jump, or run faster or slower; None: as before."""
        if offset_seconds is not None:
            struct.pack_into("=q", self._page, _ORDER.size, int(offset_seconds * 1e9))
        if rate is not None:
            struct.pack_into("=q", self._page, _ORDER.size + 8, int(rate * 1e6))

    @property
    def lies(self) -> int:
        """How many readings of a clock were altered."""
        return int(_CLOCK.unpack_from(self._page, _ORDER.size)[2])


def preload(folder: Path, control: Control) -> dict[str, str]:
    """Return the variables that put the library before a process, under this page's orders."""
    return {"LD_PRELOAD": str(library(folder)), "FAULT_CONTROL": str(control.file)}
