"""The cloud controller manager: nodes, load balancers and lifecycle through a provider.

    provider.py   Provider: the port (instances, load balancers)     providers/   one file each; `local` is one machine
    node.py node_lifecycle.py service.py      the controllers: observe, fetch (ask the provider), a pure plan
    manager.py    client, election, controllers                      config.py command.py

    await run(CloudConfig(kubeconfig, identity, cloud_config), stop=stop, ready=ready)    InvalidCloudConfig, ConfigError

The file of the `local` provider: cluster, instances (directory of <node>.json), loadBalancerRange, region.
"""

from controlplane.cloud.config import CloudConfig
from controlplane.cloud.manager import run
from controlplane.cloud.provider import InvalidCloudConfig

__all__ = ["CloudConfig", "InvalidCloudConfig", "run"]
