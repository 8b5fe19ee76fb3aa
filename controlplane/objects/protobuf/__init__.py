"""Kubernetes' protobuf: bodies to and from the dicts that are their JSON.

    decode(body) -> dict        `k8s\\0` and a runtime.Unknown that says which kind its bytes are; ProtobufError otherwise
    encode(object) -> bytes     the same form; ProtobufError for a kind without one (custom resources, Table)
    watch_frame(event) -> bytes  one event of a watch: its length (4 bytes, big-endian) and a bare WatchEvent

    table.py     the field numbers, which are data      decode.py, encode.py    the two ways

kubectl, helm and Go operators send built-in kinds in this form; some programs accept nothing else.
"""

from controlplane.objects.protobuf.decode import decode
from controlplane.objects.protobuf.encode import encode, watch_frame
from controlplane.objects.protobuf.table import MAGIC, ProtobufError, message_of

__all__ = ["MAGIC", "ProtobufError", "decode", "encode", "message_of", "watch_frame"]
