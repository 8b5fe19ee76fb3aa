"""A server over a fake member for each test that asks for one."""

from tests.kvstore.api.conftest import served

__all__ = ["served"]
