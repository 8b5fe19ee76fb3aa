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
from datetime import timedelta
from pathlib import Path
from random import Random

from controlplane.controllers import (
    claim_protection,
    clusterrole_aggregation,
    cronjob,
    csr_approving,
    csr_cleaner,
    csr_serving_approving,
    csr_signing,
    daemonset,
    deployment,
    disruption,
    endpoints,
    endpointslice,
    garbage_collector,
    horizontal_pod_autoscaler,
    job,
    namespace,
    node_lifecycle,
    pod_gc,
    replicaset,
    replicationcontroller,
    resourcequota,
    root_ca,
    serviceaccount,
    serviceaccount_token,
    statefulset,
    taint_eviction,
    token_cleaner,
    ttl_after_finished,
    volume_protection,
)
from controlplane.controllers._manager import Manager, Registry
from controlplane.controllers.config import ControllerManagerConfig
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock, SystemClock
from controlplane.machinery.controller import Reconciler

__all__ = ["CONTROLLERS", "ControllerManagerConfig", "run"]


def _root_ca(config: ControllerManagerConfig, clock: Clock) -> Reconciler | None:
    if not config.root_ca_file:
        return None
    return root_ca.RootCaPublisher(Path(config.root_ca_file).read_text())


def _signing(config: ControllerManagerConfig, clock: Clock) -> Reconciler | None:
    certificate, key = config.cluster_signing_cert_file, config.cluster_signing_key_file
    if not certificate or not key:
        return None
    longest = timedelta(seconds=config.cluster_signing_duration_seconds)
    return csr_signing.Signing(csr_signing.Authority(Path(certificate), Path(key), longest), clock)


def _tokens(config: ControllerManagerConfig, clock: Clock) -> Reconciler:
    bundle = Path(config.root_ca_file).read_bytes() if config.root_ca_file else b""
    return serviceaccount_token.ServiceAccountTokens(bundle)


def _node_lifecycle(config: ControllerManagerConfig, clock: Clock) -> Reconciler:
    return node_lifecycle.NodeLifecycle(
        clock, config.node_monitor_grace_period_seconds, config.node_startup_grace_period_seconds
    )


def _autoscaler(config: ControllerManagerConfig, clock: Clock) -> Reconciler:
    return horizontal_pod_autoscaler.HorizontalPodAutoscaler(config, clock)


# Name (as kube-controller-manager's --controllers knows it) -> its maker; None from a maker: not configured.
CONTROLLERS: Registry = {
    namespace.NamespaceController.NAME: lambda config, clock: namespace.NamespaceController(),
    serviceaccount.NAME: lambda config, clock: serviceaccount,
    serviceaccount_token.ServiceAccountTokens.NAME: _tokens,
    root_ca.RootCaPublisher.NAME: _root_ca,
    csr_approving.NAME: lambda config, clock: csr_approving,
    csr_serving_approving.NAME: lambda config, clock: csr_serving_approving if config.approve_kubelet_serving else None,
    csr_signing.Signing.NAME: _signing,
    csr_cleaner.NAME: lambda config, clock: csr_cleaner,
    clusterrole_aggregation.NAME: lambda config, clock: clusterrole_aggregation,
    token_cleaner.NAME: lambda config, clock: token_cleaner,
    deployment.NAME: lambda config, clock: deployment,
    replicaset.NAME: lambda config, clock: replicaset,
    replicationcontroller.NAME: lambda config, clock: replicationcontroller,
    statefulset.NAME: lambda config, clock: statefulset,
    daemonset.NAME: lambda config, clock: daemonset,
    job.NAME: lambda config, clock: job,
    cronjob.NAME: lambda config, clock: cronjob,
    ttl_after_finished.NAME: lambda config, clock: ttl_after_finished,
    resourcequota.ResourceQuotas.NAME: lambda config, clock: resourcequota.ResourceQuotas(),
    claim_protection.NAME: lambda config, clock: claim_protection,
    volume_protection.NAME: lambda config, clock: volume_protection,
    disruption.NAME: lambda config, clock: disruption,
    endpoints.NAME: lambda config, clock: endpoints,
    endpointslice.NAME: lambda config, clock: endpointslice,
    node_lifecycle.NodeLifecycle.NAME: _node_lifecycle,
    taint_eviction.NAME: lambda config, clock: taint_eviction,
    horizontal_pod_autoscaler.HorizontalPodAutoscaler.NAME: _autoscaler,
    garbage_collector.GarbageCollector.NAME: lambda config, clock: garbage_collector.GarbageCollector(),
    pod_gc.PodGarbageCollector.NAME: lambda config, clock: pod_gc.PodGarbageCollector(
        config.terminated_pod_gc_threshold
    ),
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
