"""The habits of docs/architecture.md that a machine can check."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.source import ROOT, calls, functions, imports, names_of_modules, source_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
EXCEPTIONS = Path(__file__).with_name("exceptions.txt")

PURE_ROOMS = ("kvstore/raft/", "kvstore/mvcc/", "controlplane/objects/")
BUILD_STEPS = ("controlplane/objects/data/generate.py",)
BANNED_IN_PURE_ROOMS = {
    "asyncio",
    "socket",
    "ssl",
    "threading",
    "subprocess",
    "time",
    "select",
    "selectors",
    "signal",
    "lmdb",
    "grpc",
    "uvloop",
}

ONE_FILE_PER_LIBRARY = {
    "lmdb": ("kvstore/storage/lmdb_store.py",),
    "msgpack": ("kvstore/storage/codec.py",),
    "hpack": ("kvstore/rpc/",),
}
NEVER_IN_THE_PRODUCT = {"grpc", "kubernetes", "requests", "pytest", "hypothesis"}

WALL_CLOCK_AND_CHANCE = {
    "time.time",
    "time.time_ns",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "uuid.uuid1",
    "uuid.uuid4",
    "os.urandom",
    "random.random",
    "random.randint",
    "random.choice",
    "random.uniform",
    "random.shuffle",
    "secrets.token_hex",
    "secrets.token_bytes",
}
MAY_READ_THE_WORLD = (
    "controlplane/machinery/clock.py",
    "controlplane/apiserver/environment.py",
    "controlplane/launcher/",
    "chaos/command.py",
)

FAMILIES = (
    "controlplane/scheduler/plugins",
    "controlplane/controllers",
    "controlplane/cloud/providers",
    "controlplane/apiserver/admission",
    "controlplane/apiserver/verbs",
    "controlplane/apiserver/subresources",
    "controlplane/objects/defaults",
    "controlplane/objects/rules",
)
NOT_MEMBERS = {"__init__", "config", "command", "registry"}


def exceptions() -> set[str]:
    return {line.strip() for line in EXCEPTIONS.read_text().splitlines() if line.strip() and not line.startswith("#")}


def oversized() -> set[str]:
    found = set()
    for file in source_files():
        if file.lines > MAX_FILE_LINES:
            found.add(file.path)
        found |= {f"{file.path}:{name}" for name, lines in functions(file.tree) if lines > MAX_FUNCTION_LINES}
    return found


def test_files_fit_a_sitting_and_functions_a_screen() -> None:
    new = sorted(oversized() - exceptions())
    assert not new, f"split these (over {MAX_FILE_LINES} lines a file, {MAX_FUNCTION_LINES} a function): {new}"


def test_the_list_of_exceptions_only_shrinks() -> None:
    healed = sorted(exceptions() - oversized())
    assert not healed, f"these fit now; take them out of {EXCEPTIONS.name}: {healed}"


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_know_no_clock_no_disk_and_no_network(room: str) -> None:
    found = [
        f"{file.path} imports {name}"
        for file in source_files()
        if file.path.startswith(room) and file.path not in BUILD_STEPS
        for name in imports(file.tree)
        if name.split(".")[0] in BANNED_IN_PURE_ROOMS
    ]
    assert not found


@pytest.mark.parametrize("library", sorted(ONE_FILE_PER_LIBRARY))
def test_a_foreign_library_is_known_in_one_place(library: str) -> None:
    allowed = ONE_FILE_PER_LIBRARY[library]
    found = [
        file.path
        for file in source_files()
        if not file.path.startswith(allowed) and any(name.split(".")[0] == library for name in imports(file.tree))
    ]
    assert not found


def test_test_libraries_stay_out_of_the_product() -> None:
    found = [
        f"{file.path} imports {name}"
        for file in source_files()
        for name in imports(file.tree)
        if name.split(".")[0] in NEVER_IN_THE_PRODUCT
    ]
    assert not found


def test_time_and_chance_are_injected() -> None:
    found = [
        f"{file.path}:{line} calls {name}"
        for file in source_files()
        if not file.path.startswith(MAY_READ_THE_WORLD) and not file.path.endswith("/command.py")
        for name, line in calls(file.tree)
        if name in WALL_CLOCK_AND_CHANCE and name.split(".")[0] in names_of_modules(file.tree)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_member_of_a_family_is_in_its_registry(family: str) -> None:
    folder = ROOT / family
    if not folder.is_dir():
        pytest.fail(f"{family} is gone: take it off the list")
    registry = (folder / "__init__.py").read_text()
    members = {path.stem for path in folder.glob("*.py")} - NOT_MEMBERS
    shared = {name for name in members if any(uses(path, family, name) for path in folder.glob("*.py"))}
    unknown = sorted(name for name in members - shared if not name.startswith("_") and name not in registry)
    assert not unknown, f"not in {family}/__init__.py: {unknown}"


def uses(path: Path, family: str, name: str) -> bool:
    """Tell whether one member of a family imports another: then that one is what members share, not a member."""
    text = path.read_text()
    package = family.replace("/", ".")
    return f"from {package}.{name} import" in text or f"from {package} import {name}\n" in text


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout
