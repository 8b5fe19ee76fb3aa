"""OpenAPI documents, made from the scheme when somebody asks. Pure: no request, no clock.

routes.py     what can be done at which path: operations without a dialect
schemas.py    definitions in the dialect of version 2 or 3, with their prose
v3.py         one document a group and version         v2.py   one document of everything
gnostic.py    version 2 in protobuf, for clients that take nothing else
documents.py  OpenApi: builds, hashes and remembers them

documents = OpenApi(scheme)
documents.index()               -> bytes of /openapi/v3: {"paths": {"apis/apps/v1": {"serverRelativeURL": ...?hash=H}}}
documents.hash_of("apis/apps/v1")      -> H, None for a group and version that is not served
documents.document("apis/apps/v1")     -> bytes of JSON, None when not served
documents.v2(), documents.v2_protobuf()       -> bytes of /openapi/v2; V2_PROTOBUF is the Content-Type of the latter
"""

from controlplane.apiserver.openapi.documents import V2_PROTOBUF, V2_PROTOBUF_ACCEPT, OpenApi

__all__ = ["V2_PROTOBUF", "V2_PROTOBUF_ACCEPT", "OpenApi"]
