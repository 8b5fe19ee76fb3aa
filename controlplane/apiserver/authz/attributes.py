"""What an authorization decision is about."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.apiserver.authn.user import User
from controlplane.apiserver.context import Context


@dataclass(frozen=True, slots=True)
class Attributes:
    """An action on a resource, or on a path when `path` is not empty."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def refusal(self, user: User) -> str:
        """Kubernetes' words for why not."""
        if self.path:
            return f'User "{user.name}" cannot {self.verb} path "{self.path}"'
        scope = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return (
            f'User "{user.name}" cannot {self.verb} resource "{self.full_resource}" in API group "{self.group}" {scope}'
        )


def of(context: Context) -> Attributes:
    """What a request asks."""
    path = context.info.path
    if not path.is_resource:
        return Attributes(context.info.verb, path=path.path)
    return Attributes(
        context.info.verb, path.group, path.version, path.resource, path.subresource, path.name, path.namespace
    )
