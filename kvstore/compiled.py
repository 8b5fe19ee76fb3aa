"""Which modules run as machine code, made by mypyc (native/compile.py) where a C compiler was present at the installation.

The source is what counts: a module that was compiled from another text than the one beside it never runs. Then, and with
PILOTHOUSE_PURE=1 in the environment, and where nothing was compiled, everything runs as plain Python; all of it, because
the modules of a room are one piece of machine code. `build()` says which it is and why.
"""

import json
import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

__all__ = ["MANIFEST", "PURE", "ROOMS", "build", "choose", "manifest", "names", "why_plain"]

# room -> its modules on the way of a request; one library of machine code for each room
ROOMS = {
    "raft": ("candidate", "configuration", "core", "follower", "leader", "log", "packing", "progress", "quorum", "reads",
             "types"),
    "mvcc": ("checks", "layout", "state", "txns", "wire", "working", "writes"),
    "rpc": ("call", "client_connection", "connection", "deadlines", "frames", "hpack_decoder", "hpack_memo", "limits",
            "messages", "peer_settings", "server_connection", "status", "streams", "web_exchange"),
    "storage": ("lmdb_store",),
    "member": ("envelope", "waiters", "wire"),
    "api": ("interest", "watch_hub"),
}  # fmt: skip
PURE = "PILOTHOUSE_PURE"
_FOLDER = Path(__file__).parent
MANIFEST = _FOLDER / "compiled.json"  # the suffix of the libraries; room/module.py -> CRC-32 of what was compiled
_PLAIN = "plain Python"


def names() -> tuple[str, ...]:
    """The sources that may be compiled, as room/module.py."""
    return tuple(f"{room}/{module}.py" for room, modules in ROOMS.items() for module in modules)


def manifest(folder: Path = _FOLDER) -> bytes:
    """What MANIFEST holds when the sources are compiled as they are now, by this Python."""
    return json.dumps([EXTENSION_SUFFIXES[0], {name: _checksum(folder / name) for name in names()}]).encode()


def _checksum(file: Path) -> int:
    return zlib.crc32(file.read_bytes())


def why_plain(folder: Path = _FOLDER, environment: Mapping[str, str] = os.environ) -> str | None:
    """Why the machine code under `folder` must not run; None when it may; "" when there is none."""
    file = folder / MANIFEST.name
    try:
        (suffix, compiled), made = json.loads(file.read_bytes()), file.stat().st_mtime_ns
    except (OSError, ValueError):
        return ""
    if environment.get(PURE, "0") not in ("", "0"):
        return f"{PURE} is set"
    sources = names()
    if suffix != EXTENSION_SUFFIXES[0] or tuple(compiled) != sources:
        return "it was compiled for another Python, or other modules: run `make native`"
    for name in sources:
        source = folder / name
        if source.stat().st_mtime_ns > made and _checksum(source) != compiled[name]:
            return f"kvstore/{name} has changed since it was compiled: run `make native`"
    return None


class _Sources:
    """Finds the sources of the modules in ROOMS, before anybody finds their machine code."""

    def __init__(self, package: str, folder: Path) -> None:
        self._files = {f"{package}.{name[:-3].replace('/', '.')}": folder / name for name in names()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(fullname)
        if file is None:
            return None
        spec = ModuleSpec(fullname, SourceFileLoader(fullname, str(file)), origin=str(file))
        spec.has_location = True
        return spec


def choose() -> None:
    """Decide for this process; before the first of the modules is imported."""
    if why_plain() is not None:
        sys.meta_path.insert(0, _Sources("kvstore", _FOLDER))


def build() -> str:
    """What runs here: `compiled`, or `plain Python` and why."""
    reason = why_plain()
    if reason is None:
        return "compiled"
    return f"{_PLAIN} ({reason})" if reason else _PLAIN
