"""Compiled expressions.  The only file that imports the CEL library, and only when there is an expression."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

from controlplane.apiserver.cel import authorizer, formats, library

MISSING: Final = (
    "CEL expressions need the package cel-expr-python: install the extra with pip install 'pilothouse[cel]'"
)
_EXTENSIONS: Final = "extensions:\n" + "".join(
    f"  - name: {name}\n"
    for name in ("lists", "sets", "two-var-comprehensions", "strings", "math", "optional", "bindings")
)


_MISSING_KEY: Final = re.compile(r'Key not found in map : "?([^"]*)"?')


class CelError(ValueError):
    """An expression that does not compile, or fails on its values; the message says why."""


def is_available() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("cel_expr_python") is not None


def _functions(cel: Any) -> list[Any]:
    kinds = cel.Type
    types = {
        "bool": kinds.BOOL, "int": kinds.INT, "double": kinds.DOUBLE, "string": kinds.STRING, "list": kinds.LIST,
        "map": kinds.MAP, "dyn": kinds.DYN,
    }  # fmt: skip
    overloads: dict[str, list[Any]] = {}

    def declare(name: str, result: str, parameters: tuple[str, ...], member: bool, function: Any) -> None:
        identifier = "_".join(("pilothouse", "of" if member else "global", name, *parameters))
        wanted = [types[parameter] for parameter in parameters]
        found = cel.Overload(identifier, return_type=types[result], parameters=wanted, is_member=member, impl=function)
        overloads.setdefault(name, []).append(found)

    for name, result, parameters, function in library.GLOBAL:
        declare(name, result, parameters, False, function)
    for name, result, parameters, function in (*library.MEMBERS, *authorizer.MEMBERS):
        declare(name, result, parameters, True, function)
    return [cel.FunctionDecl(name, found) for name, found in overloads.items()]


@cache
def _environment(names: tuple[str, ...]) -> Any:
    cel: Any = importlib.import_module("cel_expr_python.cel")  # it has no type information
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_EXTENSIONS),
        variables=dict.fromkeys(names, cel.Type.DYN),
        functions=_functions(cel),
    )


class Program:
    """One expression over some variables."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Its value as plain Python; raises CelError."""
        try:
            found = self._compiled.eval(data=values)
            if found.type().name() == "ERROR":
                raise CelError(_in_kubernetes_words(str(found.value())))
            return found.plain_value()
        except CelError:
            raise
        except Exception as error:  # the library's failures have no common class
            raise CelError(_first_line(error)) from None


def _in_kubernetes_words(text: str) -> str:
    missing = _MISSING_KEY.search(text)
    return f"no such key: {missing.group(1)}" if missing else text.partition(": ")[2] or text


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


@lru_cache(maxsize=4096)
def compile_expression(text: str, names: tuple[str, ...]) -> Program:
    """The program of an expression over these variables; raises CelError, also when the library is missing."""
    if not is_available():
        raise CelError(MISSING)
    try:
        return Program(text, _environment(names).compile(formats.rewritten(text)))
    except Exception as error:
        raise CelError(f"compilation failed: {str(error).strip()}") from None
