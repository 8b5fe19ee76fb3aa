"""Members that are always ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.durability.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    member = Member(tmp_path)
    yield member
    await member.end()
