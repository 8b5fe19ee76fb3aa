"""One address in front of the masters.

A client is never refused while a master lives: a master that refuses is skipped at connect time. Connections to a master that is
down are reset, so that its clients come again and land elsewhere.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from controlplane.network.backends import Health, LeastConnections
from controlplane.network.config import LoadBalancerConfig
from controlplane.network.forwarder import Backend, Forwarder, Limits, listening_socket
from controlplane.network.probes import Prober

log = logging.getLogger("controlplane.network")

# A ClientHello, with room for large extensions. The masters speak TLS: nothing is done for a client before they have answered it.
FIRST_FLIGHT_BYTES: Final = 16384


async def run(config: LoadBalancerConfig, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Forward until `stop` is set. Raises OSError when the address cannot be bound, ValueError without backends."""
    backends = [Backend(*backend) for backend in config.backends]
    if not backends:
        raise ValueError("a load balancer needs at least one backend")
    probers: dict[Backend, Prober] = {}
    balancer = LeastConnections(backends, lambda backend: probers[backend].suspect())
    forwarder = Forwarder(balancer, Limits(patience_seconds=config.patience_seconds, replay_bytes=FIRST_FLIGHT_BYTES))

    told: dict[Backend, Health] = {}

    def tell(backend: Backend, health: Health) -> None:
        balancer.set_health(backend, health)
        if told.get(backend) is not health:
            told[backend] = health
            log.info("master %s is %s", backend, health.name.lower())
        if health is Health.DOWN:
            forwarder.reset_backend(backend)

    context = probe_context(config.certificate_authority)
    for backend in backends:
        probers[backend] = Prober(
            backend,
            tell,
            ssl_context=context,
            interval_seconds=config.probe_interval_seconds,
            timeout_seconds=config.probe_timeout_seconds,
        )
    sock = listening_socket(config.host, config.port, reuse_port=False)
    tasks = [asyncio.create_task(prober.run(), name=f"probe {backend}") for backend, prober in probers.items()]
    try:
        await forwarder.listen(sock)
        ready()
        await stop.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await forwarder.close()


def probe_context(certificate_authority: Path | None) -> ssl.SSLContext | None:
    """For questions to masters that this authority has certified; None for a TCP connect alone."""
    if certificate_authority is None:
        return None
    context = ssl.create_default_context(cafile=str(certificate_authority))
    context.check_hostname = False  # whoever holds a certificate of this cluster may say that it is ready
    return context
