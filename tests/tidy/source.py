"""The product's source files as syntax trees, parsed once for all tidy tests."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("kvstore", "controlplane", "chaos")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path from the root with slashes, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        return self.text.count("\n")


@cache
def source_files() -> tuple[SourceFile, ...]:
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if relative.startswith("kvstore/pb/") or "/node_modules/" in relative:
                continue
            text = path.read_text()
            found.append(SourceFile(relative, text, ast.parse(text)))
    return tuple(found)


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (name, lines) of each function, docstring and decorators not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            first = body[0]
            documented = (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            )
            start = body[1].lineno if documented and len(body) > 1 else node.lineno
            yield node.name, (node.end_lineno or node.lineno) - start + 1


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the absolute name of each imported module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def names_of_modules(tree: ast.Module) -> set[str]:
    """Return the names under which a file knows modules and classes that it imported (not its parameters)."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return found


def calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of each call whose callee is a plain dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name:
                yield name, node.lineno


def dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
