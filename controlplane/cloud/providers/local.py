"""`local`: the cloud is one machine. An instance is a node agent that this machine runs, an address is one of its loopback.

The launcher keeps `<instances>/<node>.json` for each node it runs: {"name", "pid", "start_time", "zone", "address"}. An instance
is gone when its file is gone or its process is no more (the start time, field 22 of /proc/PID/stat, tells a process from a later
one of the same number). Load balancers are an address each; the service proxies listen there.

--cloud-config (YAML or JSON): cluster, instances (directory), loadBalancerRange (CIDR), region.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Self

from controlplane.cloud.provider import AddressesInUse, Instance, InvalidCloudConfig, LoadBalancer, ProviderError
from controlplane.cloud.providers.addresses import RangeExhausted, allocate, is_usable

SCHEME = "local://"
INSTANCE_TYPE = "local"
START_TIME_FIELD = 19  # of what follows the process's name


@dataclass(slots=True)
class LocalProvider:
    """See the module. `_given` remembers addresses until the API shows them: service uid -> address."""

    cluster: str
    instances: Path
    load_balancer_range: IPv4Network
    region: str = "local"
    processes: Path = Path("/proc")
    name: str = "local"
    _given: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Raises InvalidCloudConfig."""
        try:
            return cls(
                cluster=str(config["cluster"]),
                instances=Path(config["instances"]),
                load_balancer_range=IPv4Network(config["loadBalancerRange"]),
                region=str(config.get("region", "local")),
            )
        except KeyError as error:
            raise InvalidCloudConfig(f"the cloud configuration lacks {error}") from None
        except (TypeError, ValueError) as error:
            raise InvalidCloudConfig(f"the cloud configuration is wrong: {error}") from None

    def manages(self, node: Mapping[str, Any]) -> bool:
        """By the cluster in the providerID."""
        provider_id = (node.get("spec") or {}).get("providerID") or ""
        return bool(provider_id.startswith(f"{SCHEME}{self.cluster}/"))

    async def instance(self, node: Mapping[str, Any]) -> Instance | None:
        """From the node's file, if its process lives."""
        provider_id = (node.get("spec") or {}).get("providerID") or ""
        if provider_id and not self.manages(node):
            return None
        name = provider_id.rpartition("/")[2] or node["metadata"]["name"]
        entry = self._entry(name)
        if entry is None or self._start_time(int(entry["pid"])) != int(entry["start_time"]):
            return None
        address = entry.get("address")
        return Instance(
            provider_id=f"{SCHEME}{self.cluster}/{name}",
            instance_type=INSTANCE_TYPE,
            zone=entry.get("zone") or "",
            region=self.region,
            addresses=(("InternalIP", address), ("Hostname", name)) if address else (),
        )

    async def ensure_load_balancer(self, service: Mapping[str, Any], in_use: AddressesInUse) -> LoadBalancer:
        """The address that it has, wants (spec.loadBalancerIP), or the first free one from its name's place on."""
        metadata = service["metadata"]
        uid, key = metadata["uid"], f"{metadata['namespace']}/{metadata['name']}"
        taken = {address for address, owner in in_use.by_address.items() if owner != uid}
        taken |= {address for owner, address in self._given.items() if owner != uid}
        wanted = service["spec"].get("loadBalancerIP")
        if wanted:
            address = self._wanted(wanted, taken)
        else:
            mine = [address for address, owner in in_use.by_address.items() if owner == uid]
            kept = [
                address
                for address in (self._given.get(uid), *sorted(mine))
                if address and address not in taken and is_usable(self.load_balancer_range, address)
            ]
            try:
                address = kept[0] if kept else allocate(self.load_balancer_range, key, taken)
            except RangeExhausted as error:
                raise ProviderError(str(error)) from None
        self._given[uid] = address
        return LoadBalancer((address,))

    async def delete_load_balancer(self, service: Mapping[str, Any]) -> None:
        """Forget the address."""
        self._given.pop(service["metadata"]["uid"], None)

    def _wanted(self, address: str, taken: set[str]) -> str:
        if not is_usable(self.load_balancer_range, address):
            raise ProviderError(f"requested address {address} is not in {self.load_balancer_range}")
        if address in taken:
            raise ProviderError(f"requested address {address} is in use")
        return address

    def _entry(self, name: str) -> dict[str, Any] | None:
        try:
            entry: dict[str, Any] = json.loads((self.instances / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ProviderError(f"instance {name}: {error}") from error
        return entry

    def _start_time(self, pid: int) -> int | None:
        """Clock ticks since boot; None when there is no such process, or only its remains."""
        try:
            text = (self.processes / str(pid) / "stat").read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[START_TIME_FIELD])
