"""Three real members: a token that one of them issued is good on all, at once."""

from pathlib import Path

import pytest

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError
from tests.kvstore.api.calls import call
from tests.kvstore.api.processes import running_cluster


@pytest.mark.e2e
async def test_a_token_is_good_on_every_member_and_a_permission_ends_on_every_member(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        channels = [Channel(endpoint) for endpoint in cluster.endpoints]
        first, *others = channels
        for method, request in (
            ("UserAdd", rpc.AuthUserAddRequest(name="root", password="pw")),
            ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user="root", role="root")),
            ("UserAdd", rpc.AuthUserAddRequest(name="ann", password="pw")),
            ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user="ann", role="root")),
            ("AuthEnable", rpc.AuthEnableRequest()),
        ):
            await call(first, f"Auth/{method}", request)
        tokens = []
        for user in ("root", "ann"):
            answer = await call(first, "Auth/Authenticate", rpc.AuthenticateRequest(name=user, password="pw"))
            tokens.append({"token": answer.token})
            for other in others:
                await call(other, "KV/Put", rpc.PutRequest(key=b"a"), tokens[-1])
                stale = rpc.RangeRequest(key=b"a", serializable=True)
                assert (await call(other, "KV/Range", stale, tokens[-1])).count == 1
        revoke = rpc.AuthUserRevokeRoleRequest(name="ann", role="root")
        await call(first, "Auth/UserRevokeRole", revoke, tokens[0])
        for channel in channels:
            with pytest.raises(RpcError, match="etcdserver: permission denied"):
                await call(channel, "KV/Range", rpc.RangeRequest(key=b"a"), tokens[1])
            with pytest.raises(RpcError, match="etcdserver: permission denied"):
                await call(channel, "KV/Put", rpc.PutRequest(key=b"a"), tokens[1])
        for channel in channels:
            await channel.close()
