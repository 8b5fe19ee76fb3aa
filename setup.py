"""Build steps that pyproject.toml cannot say: the generated modules and data files of the package.

`kvstore/pb` is made from `proto/` by protoc; `controlplane/objects/data` from the schema packages. Both are pure
functions of their inputs, so two builds give the same bytes. Neither is committed.
"""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))


class GenerateThenBuild(build_py):
    """Generate into the source tree, then let setuptools copy it (or link it, when editable)."""

    def run(self) -> None:
        from proto import generate

        generate.main()
        from controlplane.objects.data import generate as schema

        schema.main()
        super().run()


setup(cmdclass={"build_py": GenerateThenBuild})
