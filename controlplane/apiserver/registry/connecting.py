"""Admission of connections (exec, attach, port-forward, proxies): webhooks and policies see CONNECT with its options."""

from __future__ import annotations

from controlplane.apiserver import admission
from controlplane.apiserver.context import Context
from controlplane.apiserver.registry import pipeline
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import Resource


async def admitted(context: Context, resource: Resource, kind: str, options: Object) -> Object:
    """The options of a connection as admission leaves them; raises its refusal. `kind` is theirs: PodExecOptions, ..."""
    document = {"kind": kind, "apiVersion": "v1", **options}
    subresource = context.info.path.subresource
    told = pipeline.attributes(context, resource, "CONNECT", document, {}, subresource)
    return await admission.consult(told)
