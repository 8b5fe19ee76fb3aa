"""The port to a cloud: machines and load balancers. One implementation a file in `providers/`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class ProviderError(Exception):
    """The cloud refused or failed; the text is for the user. Tried again later."""


class InvalidCloudConfig(ValueError):
    """The file named by --cloud-config is not one that the provider understands."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine. `addresses` as in a Node's status: type (InternalIP, ExternalIP, Hostname) and address."""

    provider_id: str
    instance_type: str = ""
    zone: str = ""
    region: str = ""
    addresses: tuple[tuple[str, str], ...] = ()
    is_shut_down: bool = False


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """What a Service of type LoadBalancer got: `addresses` are IPs."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddressesInUse:
    """address -> uid of the Service that has it, as the API says now."""

    by_address: Mapping[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """A cloud. All methods raise ProviderError when it cannot be asked or refuses; they may be called any number of times."""

    name: str

    async def instance(self, node: Mapping[str, Any]) -> Instance | None:
        """The machine of a Node (by spec.providerID, else by name); None when there is none (any more)."""

    def manages(self, node: Mapping[str, Any]) -> bool:
        """Does the Node's providerID say that its machine is of this cloud? Others are never deleted."""

    async def ensure_load_balancer(self, service: Mapping[str, Any], in_use: AddressesInUse) -> LoadBalancer:
        """Make (or keep) the load balancer of a Service."""

    async def delete_load_balancer(self, service: Mapping[str, Any]) -> None:
        """Remove it; nothing to remove is no fault."""
