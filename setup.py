"""Build steps that pyproject.toml cannot say: the generated modules and data files of the package, and its machine code.

`kvstore/pb` is made from `proto/` by protoc; `controlplane/objects/data` from the schema packages. Both are pure
functions of their inputs, so two builds give the same bytes. Neither is committed. The hot modules of the store are
compiled where a C compiler is present (native/compile.py), in place, so that an editable installation has them too;
where there is none, or with PILOTHOUSE_PURE=1, the package is plain Python.
"""

import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from native import compile as native  # noqa: E402


class GenerateThenBuild(build_py):
    """Generate into the source tree, then let setuptools copy it (or link it, when editable)."""

    def run(self) -> None:
        from proto import generate

        generate.main()
        from controlplane.objects.data import generate as schema

        schema.main()
        native.main()
        super().run()


class MaybeNative(Distribution):
    """A wheel with machine code is for one platform."""

    def has_ext_modules(self) -> bool:
        return native.obstacle() is None


setup(cmdclass={"build_py": GenerateThenBuild}, distclass=MaybeNative)
