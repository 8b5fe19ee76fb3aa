"""Server reflection, both versions of it, question by question."""

from collections.abc import AsyncIterator

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from kvstore.api.reflection import SERVICES
from kvstore.pb import reflection_pb2
from kvstore.rpc import Code
from tests.kvstore.api.fake_member import FakeServer

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as running:
        yield running


async def ask(server: FakeServer, *requests: Request, version: str = "v1") -> list[Response]:
    stream = server.channel.stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    for request in requests:
        stream.send(request.SerializeToString())
    stream.half_close()
    return [Response.FromString(message) async for message in stream]


async def test_every_service_that_answers_is_listed_and_described(server: FakeServer) -> None:
    for version in ("v1", "v1alpha"):
        (answer,) = await ask(server, Request(host="me", list_services=""), version=version)
        listed = [one.name for one in answer.list_services_response.service]
        assert listed == list(SERVICES)
        assert {path.split("/")[1] for path in server.services.routes()} == set(listed)
        assert (answer.valid_host, answer.original_request.host) == ("me", "me")
    pool = DescriptorPool()
    added = set()
    for answer in await ask(server, *(Request(file_containing_symbol=name) for name in SERVICES)):
        files = [FileDescriptorProto.FromString(one) for one in answer.file_descriptor_response.file_descriptor_proto]
        for file in reversed(files):  # what is imported comes later
            if file.name not in added:
                added.add(file.name)
                pool.Add(file)
    methods = {f"/{name}/{one.name}" for name in SERVICES for one in pool.FindServiceByName(name).methods}
    assert set(server.services.routes()) <= methods


async def test_files_are_found_by_name_and_by_any_symbol(server: FakeServer) -> None:
    by_name, by_method, by_message = await ask(
        server,
        Request(file_by_filename="kvstore/pb/rpc.proto"),
        Request(file_containing_symbol="etcdserverpb.KV.Range"),
        Request(file_containing_symbol="etcdserverpb.PutRequest"),
    )
    assert by_name.file_descriptor_response == by_method.file_descriptor_response == by_message.file_descriptor_response


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(file_by_filename="none.proto"), Code.NOT_FOUND),
        (Request(file_containing_symbol="none.Such"), Code.NOT_FOUND),
        (Request(all_extension_numbers_of_type="none.Such"), Code.NOT_FOUND),
        (Request(file_containing_extension=reflection_pb2.ExtensionRequest(containing_type="a")), Code.NOT_FOUND),
        (Request(), Code.INVALID_ARGUMENT),
    ],
)
async def test_what_is_not_there_is_an_error_in_the_answer_and_the_stream_goes_on(
    server: FakeServer, request_: Request, code: Code
) -> None:
    error, listed = await ask(server, request_, Request(list_services=""))
    assert error.error_response.error_code == code
    assert listed.list_services_response.service


async def test_no_type_has_extensions(server: FakeServer) -> None:
    (answer,) = await ask(server, Request(all_extension_numbers_of_type="etcdserverpb.PutRequest"))
    found = answer.all_extension_numbers_response
    assert (found.base_type_name, list(found.extension_number)) == ("etcdserverpb.PutRequest", [])
