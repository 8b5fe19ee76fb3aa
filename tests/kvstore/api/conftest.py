"""A server over a fake member for each test that asks for one."""

from collections.abc import AsyncIterator

import pytest

from tests.kvstore.api.fake_member import FakeServer


@pytest.fixture
async def served() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server
