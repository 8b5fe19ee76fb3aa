"""The servers of all differential tests."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.differential.arena import Arena, open_arena


@pytest.fixture(scope="package")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="package")
def arena(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with open_arena(tmp_path_factory.mktemp("arena"), runner) as arena:
        yield arena
