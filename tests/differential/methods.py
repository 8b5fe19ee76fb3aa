"""The RPCs by the short name that steps use (`KV/Put`, `Lock/Lock`): their path and the class of their answer."""

from dataclasses import dataclass

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kvstore.pb import election_pb2, lock_pb2, rpc_pb2


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC."""

    path: str
    request: type[Message]
    response: type[Message]


METHODS = {
    f"{service.name}/{method.name}": Method(
        f"/{service.full_name}/{method.name}", GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    )
    for file in (rpc_pb2, lock_pb2, election_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def method_of(name: str) -> Method:
    """Return the RPC of a short name; one that there is not is asked for all the same."""
    return METHODS.get(name) or Method(f"/etcdserverpb.{name}", rpc_pb2.StatusRequest, rpc_pb2.StatusResponse)


JSON_PATHS = {
    "KV/Range": "/v3/kv/range",
    "KV/Put": "/v3/kv/put",
    "KV/DeleteRange": "/v3/kv/deleterange",
    "KV/Txn": "/v3/kv/txn",
    "KV/Compact": "/v3/kv/compaction",
    "Lease/LeaseGrant": "/v3/lease/grant",
    "Lease/LeaseRevoke": "/v3/lease/revoke",
    "Lease/LeaseTimeToLive": "/v3/lease/timetolive",
    "Lease/LeaseLeases": "/v3/lease/leases",
    "Maintenance/Defragment": "/v3/maintenance/defragment",
    "Maintenance/HashKV": "/v3/maintenance/hash",
    "Cluster/MemberList": "/v3/cluster/member/list",
    **{f"Auth/Auth{name}": f"/v3/auth/{name.lower()}" for name in ("Enable", "Disable", "Status")},
    "Auth/Authenticate": "/v3/auth/authenticate",
    **{
        f"Auth/{kind}{name}": f"/v3/auth/{kind.lower()}/{name.lower()}"
        for kind in ("User", "Role")
        for name in ("Add", "Get", "List", "Delete")
    },
    "Auth/UserChangePassword": "/v3/auth/user/changepw",
    "Auth/UserGrantRole": "/v3/auth/user/grant",
    "Auth/UserRevokeRole": "/v3/auth/user/revoke",
    "Auth/RoleGrantPermission": "/v3/auth/role/grant",
    "Auth/RoleRevokePermission": "/v3/auth/role/revoke",
}
