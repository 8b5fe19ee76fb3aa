"""Compile the modules that kvstore/compiled.py names, in place:  python -m native.compile

Each room becomes one shared library beside its modules; the manifest is written last, so that a compilation that fails
leaves plain Python. Only rooms that changed are compiled again. Both cores work. Without a C compiler, without Python's
headers, without mypyc, or with PILOTHOUSE_PURE=1, nothing is made, what was made before is removed, and all works.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kvstore.compiled import MANIFEST, PURE, ROOMS, manifest, why_plain  # noqa: E402

LIBRARY = "native"  # its name in each room: native__mypyc


def obstacle() -> str | None:
    """Why nothing can be compiled here; None when it can."""
    if os.environ.get(PURE, "0") not in ("", "0"):
        return f"{PURE} is set"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no {compiler}"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Python's headers are not installed"
    if find_spec("mypyc") is None:
        return "mypyc is not installed"
    return None


def clean() -> None:
    """Remove what a compilation made."""
    MANIFEST.unlink(missing_ok=True)
    for room in ROOMS:
        for library in (ROOT / "kvstore" / room).glob("*.so"):
            library.unlink()


def build() -> None:
    """Compile; the process that runs this ends by SystemExit where mypyc refuses a source."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    os.chdir(ROOT)
    groups = [
        ([f"kvstore/{room}/{module}.py" for module in modules], f"kvstore.{room}.{LIBRARY}") for room, modules in ROOMS.items()
    ]
    sources = [source for files, _ in groups for source in files]
    before = manifest()
    extensions = mypycify(
        ["--config-file=", "--cache-dir=build/native/cache", "--ignore-missing-imports", *sources],
        opt_level="1",  # the rest of the time passes in calls of the interpreter's functions: -O3 gains nothing
        debug_level="0",
        separate=list[tuple[list[str], str | None]](groups),
        target_dir="build/native",
    )
    command = build_ext(Distribution({"name": "native", "ext_modules": extensions}))
    command.inplace, command.parallel, command.build_temp = True, os.cpu_count() or 1, "build/native"
    command.ensure_finalized()
    command.run()
    MANIFEST.write_bytes(before)


def main() -> None:
    """Compile what can be compiled, and is not compiled yet; never fail."""
    if why_plain() is None:
        return
    reason = obstacle()
    if reason is None:
        MANIFEST.unlink(missing_ok=True)
        done = subprocess.run([sys.executable, "-m", "native.compile", "now"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            return
        reason = "the compilation failed:\n" + (done.stdout + done.stderr)[-2000:]
    clean()
    print(f"kvstore runs as plain Python: {reason}", file=sys.stderr)


if __name__ == "__main__":
    build() if sys.argv[1:] == ["now"] else main()
