"""Protobuf modules generated from `proto/kvstore/pb/*.proto` (`make proto`); they are not edited or committed.

Their messages live in `POOL`, not in protobuf's process-wide pool: other clients of etcd bring the same messages under other
file names, and both can be imported in one process.
"""

from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

POOL: Final = DescriptorPool()


def build(file: FileDescriptor, module_name: str, namespace: dict[str, Any]) -> None:
    """Fill a generated module, as protobuf's builder does, but without telling the process-wide registry."""
    for described in (*file.enum_types_by_name.values(), *file.services_by_name.values()):
        namespace["_" + described.name.upper()] = described  # the module gives them their offsets in the file
    for enum in file.enum_types_by_name.values():
        namespace[enum.name] = EnumTypeWrapper(enum)
        namespace.update((value.name, value.number) for value in enum.values)
    for message in file.message_types_by_name.values():
        message_class = GetMessageClass(message)
        message_class.__module__ = module_name  # for pickling, and for whoever reads a repr
        namespace[message.name] = message_class
