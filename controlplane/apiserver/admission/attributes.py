"""What an admission plugin is told of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from controlplane.apiserver.admission.reinvocation import Reinvocation
from controlplane.apiserver.authn.user import User
from controlplane.apiserver.services import Services
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import PODS, Resource

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclass(frozen=True, slots=True)
class Attributes:
    """One operation on one object.  `object` is {} for DELETE, and the options of a CONNECT; `old` is {} for CREATE."""

    services: Services
    user: User
    operation: Operation
    resource: Resource
    namespace: str
    name: str
    subresource: str = ""
    object: Object = field(default_factory=dict)
    old: Object = field(default_factory=dict)
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)  # of the request; plugins append
    annotations: dict[str, str] = field(default_factory=dict)  # of the request's audit event; plugins write
    reinvocation: Reinvocation = field(default_factory=Reinvocation)

    def is_creation_of_pod(self) -> bool:
        """Whether this creates a pod (most plugins look at nothing else)."""
        return self.operation == "CREATE" and self.resource == PODS and not self.subresource

    def is_group_resource(self, resource: Resource) -> bool:
        """Whether this is about the resource, whatever its version."""
        return self.resource.group == resource.group and self.resource.plural == resource.plural
