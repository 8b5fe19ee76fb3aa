"""Kubernetes' API over HTTPS, on any etcd v3 store.

    server.py       uvicorn, TLS, the client's certificate            app.py        the ASGI entry: one request, its context, its errors
    request.py      path -> RequestInfo (verb, group, resource, ...)  negotiate.py  Accept and Content-Type
    authn/          who: certificates, service account tokens         authz/        RBAC and bootstrap policy
    admission/      mutate and validate, one plugin a file            verbs/        one verb a file
    storage/        objects in the store: keys, compare-and-swap, continue tokens; watch cache
    subresources/   status, scale, binding, log, token, eviction, proxy, one a file
    discovery/      legacy and aggregated                             openapi/      v2 and v3 documents
    tables/         columns per kind, one small file a group          registry/     per-resource strategy: what create and update do

An answer that lists or watches splices the stored bytes of objects; it never re-encodes them.
"""

from controlplane.apiserver.config import ApiServerConfig
from controlplane.apiserver.runner import run

__all__ = ["ApiServerConfig", "run"]
