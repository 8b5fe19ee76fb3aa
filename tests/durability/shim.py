"""Tests that need the library of chaos.machine.shim."""

import pytest

from chaos.machine.shim import COMPILER

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler for the library that injects faults")
