"""grpc.reflection.v1 and v1alpha: what a client such as grpcurl asks to speak to us without our .proto files.

All that it tells is published; it asks nobody's permission. The two versions are one service under two names.
"""

from typing import Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from kvstore.api.decoding import decode
from kvstore.pb import POOL, election_pb2, health_pb2, lock_pb2, reflection_pb2, rpc_pb2
from kvstore.rpc import Call, Code, Streaming, Unary

__all__ = ["ReflectionService"]

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


def _alpha() -> FileDescriptor:
    """The file of the older version: the same messages in another package."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name, file.package = "kvstore/pb/reflection_v1alpha.proto", "grpc.reflection.v1alpha"
    for message in file.message_type:
        for field in filter(lambda one: one.type_name, message.field):
            field.type_name = _renamed(field.type_name)
    for method in file.service[0].method:
        method.input_type, method.output_type = _renamed(method.input_type), _renamed(method.output_type)
    return POOL.AddSerializedFile(file.SerializeToString())


def _renamed(type_name: str) -> str:
    return type_name.replace(".grpc.reflection.v1.", ".grpc.reflection.v1alpha.")


FILES: Final = (*(module.DESCRIPTOR for module in (rpc_pb2, lock_pb2, election_pb2, health_pb2, reflection_pb2)), _alpha())
SERVICES: Final = tuple(sorted(one.full_name for file in FILES for one in file.services_by_name.values()))
_VERSIONS: Final = [name for name in SERVICES if name.startswith("grpc.reflection.")]


class ReflectionService:
    """Answers each question of a stream."""

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {f"/{name}/ServerReflectionInfo": Streaming(_Questions) for name in _VERSIONS}


class _Questions:
    def __init__(self, call: Call) -> None:
        self._call = call

    def on_message(self, message: bytes) -> None:
        request = decode(self._call, Request, message)
        if request is not None:
            answer = _answer(request)
            answer.valid_host = request.host
            answer.original_request.CopyFrom(request)
            self._call.send(answer.SerializeToString())

    def on_half_close(self) -> None:
        self._call.finish()

    def on_cancel(self) -> None:
        """Nothing is held for a stream."""


def _answer(request: Request) -> Response:
    try:
        match request.WhichOneof("message_request"):
            case "list_services":
                names = [reflection_pb2.ServiceResponse(name=name) for name in SERVICES]
                return Response(list_services_response=reflection_pb2.ListServiceResponse(service=names))
            case "file_by_filename":
                return _files(POOL.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                return _files(_file_of(request.file_containing_symbol))
            case "all_extension_numbers_of_type":  # there are none of any type
                name = POOL.FindMessageTypeByName(request.all_extension_numbers_of_type).full_name
                numbers = reflection_pb2.ExtensionNumberResponse(base_type_name=name)
                return Response(all_extension_numbers_response=numbers)
            case "file_containing_extension":
                return _error(Code.NOT_FOUND, "there are no extensions")
            case _:
                return _error(Code.INVALID_ARGUMENT, "nothing is asked for")
    except KeyError as error:
        return _error(Code.NOT_FOUND, str(error.args[0]))


def _file_of(symbol: str) -> FileDescriptor:
    """The file that a service, a method, a message or an enum stands in (the pool knows no methods). Raises KeyError."""
    service, _, method = symbol.rpartition(".")
    if service in SERVICES and method in POOL.FindServiceByName(service).methods_by_name:
        symbol = service
    return POOL.FindFileContainingSymbol(symbol)


def _files(file: FileDescriptor) -> Response:
    """A file and all that it imports, once each."""
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one.name not in found:
            found[one.name] = one.serialized_pb
            waiting += one.dependencies
    answer = reflection_pb2.FileDescriptorResponse(file_descriptor_proto=found.values())
    return Response(file_descriptor_response=answer)


def _error(code: Code, text: str) -> Response:
    return Response(error_response=reflection_pb2.ErrorResponse(error_code=code, error_message=text))
