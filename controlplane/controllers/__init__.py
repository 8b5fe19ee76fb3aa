"""The controller manager: one file per controller, `observe` from the cache, a pure `plan(observed, now)`, one executor.

The registry below is the list of controllers; adding one is a file and a line. All run under one election, over one set of
informers, which exist only while this process leads.

    config.py command.py _manager.py     the component          _pods.py _replicas.py      what controllers of pods share
    _discovery.py                        what the API serves

    await run(config, stop=event, ready=callback)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

from controlplane.controllers import deployment, namespace, replicaset, replicationcontroller, root_ca, serviceaccount
from controlplane.controllers._manager import Manager, Registry
from controlplane.controllers.config import ControllerManagerConfig
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock, SystemClock
from controlplane.machinery.controller import Reconciler

__all__ = ["CONTROLLERS", "ControllerManagerConfig", "run"]


def _root_ca(config: ControllerManagerConfig) -> Reconciler | None:
    if not config.root_ca_file:
        return None
    return root_ca.RootCaPublisher(Path(config.root_ca_file).read_text())


# Name (as kube-controller-manager's --controllers knows it) -> its maker; None from a maker: not configured.
CONTROLLERS: Registry = {
    namespace.NamespaceController.NAME: lambda config: namespace.NamespaceController(),
    serviceaccount.NAME: lambda config: serviceaccount,
    root_ca.RootCaPublisher.NAME: _root_ca,
    deployment.NAME: lambda config: deployment,
    replicaset.NAME: lambda config: replicaset,
    replicationcontroller.NAME: lambda config: replicationcontroller,
}


async def run(
    config: ControllerManagerConfig,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
    clock: Clock | None = None,
    random: Random | None = None,
) -> None:
    """Run the controller manager until `stop` is set; `ready` is called as soon as it competes for the lead.

    ConfigError or ValueError on a configuration that cannot be served. `clock` and `random` are for the simulator.
    """
    client = ApiClient(config.client)
    try:
        await Manager(config, CONTROLLERS, client, clock or SystemClock(), random or Random()).run(stop, ready)
    finally:
        await client.close()
