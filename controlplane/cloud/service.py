"""service-controller: Services of type LoadBalancer get one from the cloud, and give it back when they go or change their type.

The finalizer is written before the cloud is asked, and taken away after the cloud has cleaned up, so nothing is left behind.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.cloud.provider import AddressesInUse, Provider, ProviderError
from controlplane.machinery.actions import Note, Patch, Plan
from controlplane.machinery.client import ApiClient
from controlplane.machinery.controller import Caches, Kind, Watch
from controlplane.objects.kinds import SERVICES
from controlplane.objects.meta import finalizers_of, get_in, name_of, namespace_of, resource_version_of, uid_of

Object = dict[str, Any]

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A Service that has or wants a load balancer. After `fetch`: its addresses, or why there are none."""

    service: Object
    wants: bool
    in_use: AddressesInUse
    addresses: tuple[str, ...] = ()
    error: str = ""


def _wants(service: Object) -> bool:
    spec = service.get("spec") or {}
    is_ours = spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")
    return is_ours and "deletionTimestamp" not in service["metadata"]


def _ingress(service: Object) -> list[str]:
    return [entry.get("ip", "") for entry in get_in(service, "status", "loadBalancer", "ingress", default=None) or ()]


def _addresses_in_use(services: list[Object]) -> AddressesInUse:
    """Where two claim one address, the older Service has it."""
    oldest_first = sorted(
        services, key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), uid_of(obj)), reverse=True
    )
    return AddressesInUse({ip: uid_of(service) for service in oldest_first for ip in _ingress(service) if ip})


class ServiceController:
    """A Reconciler of Services."""

    NAME = "service-controller"
    WATCHES: tuple[Watch, ...] = (Kind(SERVICES),)

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def observe(self, key: str, caches: Caches, /) -> Observed | None:
        """The Service, unless it neither has nor wants a load balancer."""
        service = caches[SERVICES].get(key)
        if service is None:
            return None
        wants, has = _wants(service), FINALIZER in finalizers_of(service)
        if not wants and not has:
            return None
        return Observed(service, wants, _addresses_in_use(list(caches[SERVICES])) if wants else AddressesInUse())

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Have the cloud make or remove the load balancer; not before the finalizer is written."""
        service = observed.service
        try:
            if not observed.wants:
                await self._provider.delete_load_balancer(service)
            elif FINALIZER in finalizers_of(service):
                made = await self._provider.ensure_load_balancer(service, observed.in_use)
                return replace(observed, addresses=made.addresses)
        except ProviderError as error:
            return replace(observed, error=str(error))
        return observed

    def plan(self, observed: Observed, now: datetime, /) -> Plan:
        """Finalizer, then status; the other way round at the end."""
        service = observed.service
        if observed.error:
            what = "ensure" if observed.wants else "delete"
            text = f"Error syncing load balancer: failed to {what} load balancer: {observed.error}"
            return Plan(notes=(Note(service, "Warning", "SyncLoadBalancerFailed", text),), again_after=RETRY_SECONDS)
        if not observed.wants:
            return self._release(service)
        if FINALIZER not in finalizers_of(service):
            note = Note(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
            return Plan(actions=(_finalizers(service, [*finalizers_of(service), FINALIZER], note),))
        if _ingress(service) == list(observed.addresses):
            return Plan()
        note = Note(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return Plan(status=_status(service, observed.addresses, note))

    @staticmethod
    def _release(service: Object) -> Plan:
        is_going = "deletionTimestamp" in service["metadata"]
        if not is_going and _ingress(service):
            return Plan(status=_status(service, (), None))  # the finalizer follows, when the cache shows this
        note = Note(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        rest = [finalizer for finalizer in finalizers_of(service) if finalizer != FINALIZER]
        return Plan(actions=(_finalizers(service, rest, note),))


def _finalizers(service: Object, finalizers: list[str], note: Note) -> Patch:
    patch = {"metadata": {"resourceVersion": resource_version_of(service), "finalizers": finalizers or None}}
    return Patch(SERVICES, name_of(service), namespace_of(service), patch, missing_ok=True, on_success=note)


def _status(service: Object, addresses: tuple[str, ...], note: Note | None) -> Patch:
    ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
    patch = {"metadata": {"uid": uid_of(service)}, "status": {"loadBalancer": {"ingress": ingress or None}}}
    return Patch(SERVICES, name_of(service), namespace_of(service), patch, subresource="status", on_success=note)
