"""Fetch client libraries of etcd from PyPI and npm, each into a folder of its own: their dependencies contradict one another.

    .venv/tools/library-etcd3/       what `pip install --target` makes; used by `python -S` with PYTHONPATH at it
    .venv/tools/library-npm-etcd3/   what `npm install --prefix` makes; used by node with NODE_PATH at its node_modules
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# the versions of what they need are those that their generated code and calls still fit
PYTHON_LIBRARIES = {
    "etcd3": ("etcd3==0.12.0", "protobuf==3.20.3", "tenacity==6.3.1", "grpcio>=1.60,<2", "six"),
    "aetcd": ("aetcd==1.0.0",),
    "etcd3gw": ("etcd3gw==2.7.0",),
    "etcd3-py": ("etcd3-py==0.1.6",),
    "grpc-checks": ("grpcio-reflection>=1.71,<2", "grpcio-health-checking>=1.71,<2"),
}
NODE_LIBRARIES = {"npm-etcd3": ("etcd3@1.1.2",)}
LIBRARIES = (*PYTHON_LIBRARIES, *NODE_LIBRARIES)


def fetch_libraries(tools: Path) -> None:
    """Install what is missing below `tools`; say in one line what cannot be had."""
    for name in LIBRARIES:
        folder = tools / f"library-{name}"
        if folder.exists():
            continue
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            _install(name, part)
            os.replace(part, folder)
            print(f"fetched {name}")
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"could not fetch {name}: {error}")


def _install(name: str, folder: Path) -> None:
    if name in NODE_LIBRARIES:
        folder.mkdir()
        command = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder), *NODE_LIBRARIES[name]]
    else:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--target", str(folder), *PYTHON_LIBRARIES[name]]
    subprocess.run(command, check=True, capture_output=True)  # pip warns of our own environment, which is not meant


def library_command(name: str, tools: Path, script: Path) -> tuple[list[str], dict[str, str]]:
    """How a script that uses a library is run: the command, and what its environment needs."""
    folder = tools / f"library-{name}"
    if name in NODE_LIBRARIES:
        return ["node", str(script)], {"NODE_PATH": str(folder / "node_modules")}
    return [sys.executable, "-S", str(script)], {"PYTHONPATH": str(folder)}
