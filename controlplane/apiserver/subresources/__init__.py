"""What stands below an object, one a file.  The registry says which handler answers which subresource of which resource.

Some resources are never stored: they are questions (reviews) or commands (bindings); `virtual` finds their handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.crd import scale as custom_scale
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.nodemetrics import handlers as nodemetrics
from controlplane.apiserver.subresources import (
    approval,
    binding,
    eviction,
    finalize,
    log,
    proxy,
    reviews,
    scale,
    status,
    streaming,
    token,
)
from controlplane.objects.kinds import Resource

Handler = Callable[[Context, Resource], Awaitable[Result]]

_BY_NAME: Final[dict[str, Handler]] = {"status": status.handle, "scale": scale.handle}
_BY_RESOURCE: Final[dict[tuple[str, str, str], Handler]] = {
    ("", "pods", "binding"): binding.handle,
    ("", "pods", "eviction"): eviction.handle,
    ("", "pods", "log"): log.handle,
    ("", "pods", "proxy"): proxy.handle,
    ("", "pods", "ephemeralcontainers"): status.handle_ephemeral_containers,
    ("", "pods", "resize"): status.handle_resize,
    ("", "services", "proxy"): proxy.handle,
    ("", "nodes", "proxy"): proxy.handle,
    ("", "pods", "exec"): streaming.handle_exec,
    ("", "pods", "attach"): streaming.handle_attach,
    ("", "pods", "portforward"): streaming.handle_port_forward,
    ("", "namespaces", "finalize"): finalize.handle,
    ("", "serviceaccounts", "token"): token.handle,
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): approval.handle,
}
_VIRTUAL: Final[dict[tuple[str, str], Handler]] = {
    ("", "bindings"): binding.handle,
    ("authentication.k8s.io", "tokenreviews"): reviews.token_review,
    ("authentication.k8s.io", "selfsubjectreviews"): reviews.self_subject_review,
    ("authorization.k8s.io", "selfsubjectaccessreviews"): reviews.self_subject_access_review,
    ("authorization.k8s.io", "subjectaccessreviews"): reviews.subject_access_review,
    ("authorization.k8s.io", "localsubjectaccessreviews"): reviews.local_subject_access_review,
    ("authorization.k8s.io", "selfsubjectrulesreviews"): reviews.self_subject_rules_review,
    ("", "componentstatuses"): reviews.component_statuses,
    ("metrics.k8s.io", "nodes"): nodemetrics.handle,
    ("metrics.k8s.io", "pods"): nodemetrics.handle,
}


class _Subresources:
    """The registry."""

    def find(self, resource: Resource, name: str) -> Handler | None:
        """The handler of a subresource; None when the resource has none of that name."""
        if name == "scale" and isinstance(resource, CustomResource):
            return custom_scale.handle
        return _BY_RESOURCE.get((resource.group, resource.plural, name)) or _BY_NAME.get(name)

    def virtual(self, resource: Resource) -> Handler | None:
        """The handler of a resource that is never stored."""
        return _VIRTUAL.get((resource.group, resource.plural))


SUBRESOURCES: Final = _Subresources()
