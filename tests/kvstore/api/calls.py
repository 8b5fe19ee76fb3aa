"""Calls by message type, for tests: `await call(channel, "KV/Put", request)`."""

from typing import Any

from google.protobuf.message import Message

from kvstore.pb import rpc_pb2
from kvstore.rpc import Channel, ClientStream

_RESPONSES = {
    "KV/Range": rpc_pb2.RangeResponse,
    "KV/Put": rpc_pb2.PutResponse,
    "KV/DeleteRange": rpc_pb2.DeleteRangeResponse,
    "KV/Txn": rpc_pb2.TxnResponse,
    "KV/Compact": rpc_pb2.CompactionResponse,
    "Lease/LeaseGrant": rpc_pb2.LeaseGrantResponse,
    "Lease/LeaseRevoke": rpc_pb2.LeaseRevokeResponse,
    "Lease/LeaseTimeToLive": rpc_pb2.LeaseTimeToLiveResponse,
    "Lease/LeaseLeases": rpc_pb2.LeaseLeasesResponse,
    "Cluster/MemberList": rpc_pb2.MemberListResponse,
    "Maintenance/Status": rpc_pb2.StatusResponse,
    "Maintenance/Alarm": rpc_pb2.AlarmResponse,
    "Maintenance/HashKV": rpc_pb2.HashKVResponse,
    "Maintenance/Hash": rpc_pb2.HashResponse,
    "Maintenance/Defragment": rpc_pb2.DefragmentResponse,
    "Maintenance/MoveLeader": rpc_pb2.MoveLeaderResponse,
    "Maintenance/Downgrade": rpc_pb2.DowngradeResponse,
    "Auth/AuthStatus": rpc_pb2.AuthStatusResponse,
    "Auth/AuthEnable": rpc_pb2.AuthEnableResponse,
    "Auth/AuthDisable": rpc_pb2.AuthDisableResponse,
    "Auth/Authenticate": rpc_pb2.AuthenticateResponse,
    "Auth/UserAdd": rpc_pb2.AuthUserAddResponse,
    "Auth/UserGet": rpc_pb2.AuthUserGetResponse,
    "Auth/UserList": rpc_pb2.AuthUserListResponse,
    "Auth/UserDelete": rpc_pb2.AuthUserDeleteResponse,
    "Auth/UserChangePassword": rpc_pb2.AuthUserChangePasswordResponse,
    "Auth/UserGrantRole": rpc_pb2.AuthUserGrantRoleResponse,
    "Auth/UserRevokeRole": rpc_pb2.AuthUserRevokeRoleResponse,
    "Auth/RoleAdd": rpc_pb2.AuthRoleAddResponse,
    "Auth/RoleGet": rpc_pb2.AuthRoleGetResponse,
    "Auth/RoleList": rpc_pb2.AuthRoleListResponse,
    "Auth/RoleDelete": rpc_pb2.AuthRoleDeleteResponse,
    "Auth/RoleGrantPermission": rpc_pb2.AuthRoleGrantPermissionResponse,
    "Auth/RoleRevokePermission": rpc_pb2.AuthRoleRevokePermissionResponse,
}


async def call(channel: Channel, method: str, request: Message, metadata: dict[str, str] | None = None) -> Any:
    """Return the response message; raises RpcError."""
    answer = await channel.unary(f"/etcdserverpb.{method}", request.SerializeToString(), metadata=metadata)
    return _RESPONSES[method].FromString(answer)


class WatchClient:
    """One Watch stream."""

    def __init__(self, channel: Channel, metadata: dict[str, str] | None = None) -> None:
        self.stream: ClientStream = channel.stream("/etcdserverpb.Watch/Watch", metadata)
        self._messages = aiter(self.stream)

    def create(self, key: bytes, range_end: bytes = b"", **fields: Any) -> None:
        request = rpc_pb2.WatchCreateRequest(key=key, range_end=range_end, **fields)
        self.stream.send(rpc_pb2.WatchRequest(create_request=request).SerializeToString())

    def cancel(self, watch_id: int) -> None:
        request = rpc_pb2.WatchCancelRequest(watch_id=watch_id)
        self.stream.send(rpc_pb2.WatchRequest(cancel_request=request).SerializeToString())

    def request_progress(self) -> None:
        self.stream.send(
            rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()).SerializeToString()
        )

    async def receive(self) -> rpc_pb2.WatchResponse:
        return rpc_pb2.WatchResponse.FromString(await anext(self._messages))
