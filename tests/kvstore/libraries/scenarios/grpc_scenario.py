"""grpcio-reflection and grpcio-health-checking: a client that has none of our .proto files. `... HOST PORT`."""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from outcomes import Outcomes

out = Outcomes()
channel = grpc.insecure_channel(":".join(sys.argv[1:3]))
database = ProtoReflectionDescriptorDatabase(channel)
out.note("services", sorted(database.get_services()))
pool = DescriptorPool(database)


def call(service, method, **fields):
    described = pool.FindServiceByName(service).FindMethodByName(method)
    answer = GetMessageClass(described.output_type)
    ask = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return ask(GetMessageClass(described.input_type)(**fields), timeout=10)


out.note("put", call("etcdserverpb.KV", "Put", key=b"key", value=b"1").header.revision)
out.note("range", [kv.value for kv in call("etcdserverpb.KV", "Range", key=b"key").kvs])
out.note("every method", {
    name: [method.name for method in pool.FindServiceByName(name).methods] for name in database.get_services()
})  # fmt: skip
out.attempt("unknown symbol", lambda: pool.FindServiceByName("none.Such"))

health = health_pb2_grpc.HealthStub(channel)
out.note("check", health.Check(health_pb2.HealthCheckRequest(), timeout=10).status)
watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=10)
out.note("watch", next(watch).status)
watch.cancel()
unknown = health.Watch(health_pb2.HealthCheckRequest(service="none"), timeout=10)
out.note("watch of what is unknown", next(unknown).status)
unknown.cancel()
out.attempt("check of what is unknown", lambda: health.Check(health_pb2.HealthCheckRequest(service="none"), timeout=10))
channel.close()
out.tell()
