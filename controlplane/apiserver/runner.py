"""The life of one API server: build its parts, bootstrap, serve, stop gracefully."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from controlplane.apiserver import admission, bootstrap, compaction, masters
from controlplane.apiserver.admission.configuration import read as read_admission
from controlplane.apiserver.app import App
from controlplane.apiserver.audit import Auditor, Sink
from controlplane.apiserver.audit.log import AuditLog, Rotation
from controlplane.apiserver.audit.policy import parse as parse_policy
from controlplane.apiserver.audit.webhook import AuditWebhook, Batching
from controlplane.apiserver.authn.chain import Authenticator
from controlplane.apiserver.authn.tokens import Tokens
from controlplane.apiserver.authz.authorizer import Authorizer
from controlplane.apiserver.config import ApiServerConfig
from controlplane.apiserver.environment import Environment
from controlplane.apiserver.fairness import objects as flow_control
from controlplane.apiserver.fairness.fairness import Fairness
from controlplane.apiserver.fairness.inflight import InFlight
from controlplane.apiserver.http import HttpServer, tls_context
from controlplane.apiserver.metrics import Metrics
from controlplane.apiserver.nodemetrics.definitions import with_metrics
from controlplane.apiserver.services import Services
from controlplane.apiserver.storage.backend import Backend, RevisionCompacted
from controlplane.apiserver.storage.caches import Caches
from controlplane.apiserver.storage.store import ObjectStore
from controlplane.apiserver.subresources.kubelets import Upstreams
from controlplane.objects.scheme import Scheme
from controlplane.objects.status import ApiError

RETRY_SECONDS: Final = 0.2
AUDIT: Final = "audit"  # the tasks that write audit events
QUEUED_PART: Final = 4  # of its time a request may wait in a queue: one of so many parts

logger = logging.getLogger(__name__)


def _store_tls(config: ApiServerConfig) -> ssl.SSLContext | None:
    if config.etcd_cafile is None and config.etcd_certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if config.etcd_cafile is not None:
        context.load_verify_locations(str(config.etcd_cafile))
    if config.etcd_certfile is not None and config.etcd_keyfile is not None:
        context.load_cert_chain(str(config.etcd_certfile), str(config.etcd_keyfile))
    return context


def _default_backend(config: ApiServerConfig) -> Backend:
    from controlplane.apiserver.storage.etcd import EtcdBackend

    return EtcdBackend(config.etcd_servers, _store_tls(config))


def _sealed(config: ApiServerConfig, backend: Backend, environment: Environment) -> Backend:
    """The store, behind the configured encryption."""
    if config.encryption_provider_config is None:
        return backend
    from controlplane.apiserver.encryption import SealingBackend, parse

    return SealingBackend(backend, parse(config.encryption_provider_config.read_bytes()), environment.secret_bytes)


def build(config: ApiServerConfig, backend: Backend, environment: Environment) -> Services:
    """The parts of one server; nothing runs yet. Raises ValueError and OSError for configurations that cannot be used."""
    admission.check(config.admission_plugins)
    admission_file = config.admission_control_config_file
    backend = _sealed(config, backend, environment)
    caches, store = Caches(backend), ObjectStore(backend)
    tokens = Tokens(
        config.service_account_issuer,
        config.audiences,
        config.service_account_key_files,
        config.service_account_signing_key_file,
    )
    services = Services(
        config=config,
        environment=environment,
        scheme=with_metrics(Scheme.load()),
        backend=backend,
        store=store,
        caches=caches,
        authenticator=Authenticator(tokens, config),
        authorizer=Authorizer.of(config, caches, store),
        metrics=Metrics(),
        upstreams=Upstreams(config),
        fairness=_fairness(config),
        audit=_auditor(config, environment),
        admission_settings=admission.settings(read_admission(admission_file)) if admission_file else {},
    )
    services.metrics.registry.register(services.fairness)
    return services


def _auditor(config: ApiServerConfig, environment: Environment) -> Auditor | None:
    """The audit log, where a policy and a place are configured."""
    sinks: list[Sink] = []
    if config.audit_log_path:
        sizes = (config.audit_log_maxsize_mebibytes, config.audit_log_maxbackup, config.audit_log_maxage_days)
        sinks.append(AuditLog(config.audit_log_path, Rotation(*sizes), environment.now))
    if config.audit_webhook_config_file is not None:
        batching = Batching(
            config.audit_webhook_batch_max_size,
            config.audit_webhook_batch_max_wait_seconds,
            config.audit_webhook_batch_buffer_size,
        )
        sinks.append(AuditWebhook(config.audit_webhook_config_file, batching))
    if config.audit_policy_file is None or not sinks:
        return None
    return Auditor(parse_policy(config.audit_policy_file.read_bytes()), tuple(sinks))


def _fairness(config: ApiServerConfig) -> Fairness:
    reading, mutating = config.max_requests_inflight, config.max_mutating_requests_inflight
    if not config.enable_priority_and_fairness:
        return InFlight(reading, mutating)
    return Fairness(reading + mutating, config.request_timeout_seconds / QUEUED_PART)


async def _until_done(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it, again and again while the store cannot answer."""
    while True:
        try:
            await work()
            return
        except (ApiError, RevisionCompacted) as error:
            logger.info("%s waits for the store: %s", what, error)
            await asyncio.sleep(RETRY_SECONDS)


async def run(
    config: ApiServerConfig,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
    backend: Backend | None = None,
    environment: Environment | None = None,
    on_port: Callable[[int], None] | None = None,
) -> None:
    """Serve until `stop` is set.  `ready` is called once requests are answered; `on_port` with the port that is listened
    on. Raises OSError when the address is taken, ValueError or OSError for certificates that cannot be loaded."""
    context = tls_context(
        str(config.tls_cert_file),
        str(config.tls_private_key_file),
        *(str(path) for path in (config.client_ca_file, config.requestheader_client_ca_file) if path is not None),
    )
    services = build(config, backend or _default_backend(config), environment or Environment.system())
    server = HttpServer(App(services), context)
    try:
        await server.start(config.bind_address, config.secure_port)
    except OSError:
        await services.backend.close()
        raise
    if on_port is not None:
        on_port(server.port)
    background = [
        asyncio.create_task(_bootstrap(services, server.port, ready), name="bootstrap"),
        asyncio.create_task(compaction.run(services), name="compaction"),
        asyncio.create_task(services.custom.run(services), name="custom resources"),
    ]
    background.extend(_reloading(services))
    if services.audit is not None:
        background += [asyncio.create_task(sink.run(), name=AUDIT) for sink in services.audit.sinks]
    if config.enable_priority_and_fairness:
        following = _until_done("priority and fairness", lambda: flow_control.follow(services))
        background.append(asyncio.create_task(following, name="priority and fairness"))
    try:
        await _stopped_or_failed(stop, background)
    finally:
        await _shut_down(services, server, background)


def _reloading(services: Services) -> Iterator[asyncio.Task[None]]:
    """Follow the encryption configuration, where there is one."""
    from controlplane.apiserver.encryption import SealingBackend
    from controlplane.apiserver.encryption.reload import follow

    config = services.config
    if config.encryption_provider_config_automatic_reload and isinstance(services.backend, SealingBackend):
        assert config.encryption_provider_config is not None
        yield asyncio.create_task(follow(config.encryption_provider_config, services.backend), name="encryption keys")


async def _bootstrap(services: Services, port: int, ready: Callable[[], None]) -> None:
    await _until_done("bootstrap", lambda: bootstrap.ensure_namespaces(services))
    await _until_done("bootstrap", lambda: bootstrap.ensure_all(services))
    await _until_done("bootstrap", lambda: services.custom.caught_up(services))
    await _until_done("bootstrap", lambda: services.aggregation.ready(services))
    logger.info("serving on port %d", port)
    ready()
    await asyncio.gather(masters.run(services, port), services.aggregation.run(services))


async def _stopped_or_failed(stop: asyncio.Event, background: list[asyncio.Task[None]]) -> None:
    """Return when `stop` is set; raise what a background task died of."""
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([waiting, *background], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task is not waiting:
                task.result()
        if waiting not in done:
            await waiting
    finally:
        waiting.cancel()


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _shut_down(services: Services, server: HttpServer, background: list[asyncio.Task[None]]) -> None:
    """No new connections, watches end, requests in flight finish, then the caches and the store's client close."""
    services.is_stopping = True
    server.stop_listening()
    services.watchers.end_all()
    services.streams.end_all()
    auditing = [task for task in background if task.get_name() == AUDIT]  # to the last request
    await _ended([task for task in background if task not in auditing])
    await server.stop(services.config.shutdown_grace_seconds)
    await _ended(auditing)
    await services.caches.close()
    await services.upstreams.close()
    await services.webhooks.close()
    await services.authorizer.close()
    await services.authenticator.close()
    await services.backend.close()
