"""Our messages and those of another etcd client in one process."""

import os
import subprocess
import sys

import pytest

BOTH = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

theirs = descriptor_pb2.FileDescriptorProto(name="rpc.proto", package="etcdserverpb", syntax="proto3")
field = theirs.message_type.add(name="PutRequest").field.add(name="key", number=1)
field.type, field.label = field.TYPE_BYTES, field.LABEL_OPTIONAL

def other():
    file = descriptor_pool.Default().Add(theirs) or descriptor_pool.Default().FindFileByName("rpc.proto")
    return message_factory.GetMessageClass(file.message_types_by_name["PutRequest"])

def ours():
    from kvstore.pb import election_pb2, health_pb2, lock_pb2, raft_pb2, rpc_pb2
    return rpc_pb2.PutRequest

first, second = {order}
assert first.DESCRIPTOR.file.pool is not second.DESCRIPTOR.file.pool
for one, another in ((first, second), (second, first)):
    assert another.FromString(one(key=b"k").SerializeToString()).key == b"k"
"""


@pytest.mark.parametrize("order", ["other(), ours()", "tuple(reversed((ours(), other())))"])
@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_another_package_may_bring_etcds_messages_too(order: str, implementation: str) -> None:
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    script = BOTH.replace("{order}", order)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
