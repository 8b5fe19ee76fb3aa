"""A server with a front-proxy certificate, and an extension API server beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.controlplane.aggregation.extension import ExtensionServer
from tests.controlplane.apiserver.conftest import (  # noqa: F401
    Api,
    StartApi,
    authority,
    backing,
    base_config,
    client,
    etcd,
    member,
    start_api,
)
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority


@pytest.fixture
async def api(start_api: StartApi, authority: Authority) -> Api:  # noqa: F811
    certificate, key = authority.issue("front-proxy-client", "front-proxy-client")
    made: Api = await start_api(MemoryBackend(), proxy_client_cert_file=certificate, proxy_client_key_file=key)
    return made


@pytest.fixture
async def extension(authority: Authority) -> AsyncIterator[ExtensionServer]:  # noqa: F811
    async with ExtensionServer(authority) as server:
        yield server
