"""Kubernetes' API over HTTPS, on any etcd v3 store.

    runner.py       the life of one server: run()           config.py, command.py   what it is told
    http/           TLS, HTTP/1.1 and HTTP/2                app.py          the ASGI entry: one request, its errors
    request.py      path -> RequestInfo (verb, group, ...)  negotiate.py    Accept and Content-Type
    context.py      one request; Answer and Stream          services.py     what requests are served with
    authn/          who: certificates, account tokens       authz/          Node, RBAC, webhook; bootstrap policy
    admission/      mutate and validate, one plugin a file  verbs/          one verb a file
    storage/        objects in the store: compare-and-swap, pages, watch cache; `backend.py` is the port to the store
    fairness/       which requests run now, wait, or are refused   deadline.py     how long one may take
    audit/          the audit log: policy, events, file
    podsecurity/    the Pod Security Standards
    encryption/     values sealed at rest, by resource, with keys that rotate
    registry/       per-kind strategy: what create, update and delete do; pipeline.py is the order of the steps
    subresources/   status, scale, binding, log, token, eviction, proxy, reviews, one a file
    tunnel.py       an upgraded connection (exec, attach, port-forward, proxied WebSockets) passed through as it is
    nodemetrics/    metrics.k8s.io, measured from the kubelets when somebody asks
    crd/            custom resources: definitions, versions, schemas, removal
    cel/            the language of rules, by an optional library
    aggregation/    APIs that other servers serve, proxied and shown; their APIServices
    webhooks/       admission and conversion by programs outside   policies/   ValidatingAdmissionPolicy
    present.py      stored bytes -> object, list, Table, metadata, watch line
    paths.py        what is no resource: health.py, /version, /metrics; mounts.py answers with the documents of
    discovery/      legacy and aggregated                   openapi/        v2 and v3 documents
    tables/         columns per kind, one small file a group
    bootstrap.py    what a cluster has at first             masters.py      `default/kubernetes` and its endpoints
    compaction.py   the store's history, cut by one server at a time

An answer that lists or watches splices the stored bytes of objects; it never re-encodes them.
"""

from controlplane.apiserver.config import ApiServerConfig
from controlplane.apiserver.runner import run

__all__ = ["ApiServerConfig", "run"]
