"""One member as a process: data directory, state, member, client API, from start to clean stop.

    await run(config, stop=event, ready=callback)

`ready` is called once clients are served and a leader is known; setting `stop` ends the member cleanly.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from kvstore.api import ApiLimits, AuthOptions, CorruptionOptions, Retention, Services, VisitorRules
from kvstore.member.config import MemberConfig
from kvstore.member.driver import Driver, start_member
from kvstore.member.ports import Result
from kvstore.member.rejoin import Recovery
from kvstore.mvcc import layout
from kvstore.mvcc.state import StateMachine
from kvstore.rpc import Limits, Server
from kvstore.storage import crashes
from kvstore.storage.data_dir import DataDirectory, MemberRemoved
from kvstore.storage.lmdb_store import DAMAGE, LmdbStore, check_pages
from kvstore.storage.port import DamagedStore, StoreFull
from kvstore.storage.raft_log import CorruptLog
from kvstore.tls import MemberTls, TlsLimits

__all__ = ["ServerOptions", "run"]

logger = logging.getLogger("kvstore.server")

MESSAGE_OVERHEAD_BYTES = 512 << 10  # a message may be so much larger than a request
MAX_STREAMS = 1 << 20  # of one connection, whatever the flag says: HTTP/2's ids would last for no more
CRASHES_BORNE = 2  # then the state counts as damaged, even if all of its pages can be read
STOP_GRACE_SECONDS = 0.2  # for answers on their way
TRANSFER_SECONDS = 0.5  # a leader that stops hands over, if that takes no longer


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What concerns the client API alone, named as etcd's flags."""

    listen_metrics_urls: tuple[str, ...] = ()
    watch_progress_notify_interval_seconds: float = 600.0
    lease_checkpoint_interval_seconds: float = 300.0
    auth_token: str = "simple"  # or jwt,pub-key=...,priv-key=...,sign-method=...,ttl=...
    auth_token_ttl_seconds: float = 300.0
    tls: TlsLimits = field(default_factory=TlsLimits)
    bcrypt_cost: int = 10
    retention: Retention = field(default_factory=Retention)
    corruption: CorruptionOptions = field(default_factory=CorruptionOptions)
    visitors: VisitorRules = field(default_factory=VisitorRules)
    notes_crashes: bool = False  # the process is ours alone


async def run(
    config: MemberConfig,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
    options: ServerOptions | None = None,
    random: Random | None = None,
) -> None:
    """Run a member until `stop` is set. What its disk has lost, the other members give back (member/rejoin.py).

    Raises DataDirectoryInUse, WrongDataDirectory, CorruptLog, OSError (an address is in use, a certificate is not there),
    ValueError (what was given does not fit together), and whatever ended the member when it ended by itself.
    """
    options = options or ServerOptions()
    with contextlib.ExitStack() as closing:
        tls = MemberTls(config, asyncio.get_running_loop().call_later, options.tls)
        closing.callback(tls.stop)
        directory = DataDirectory(config.data_dir)
        closing.callback(directory.close)
        random = random or Random()
        recovery = Recovery(config, directory, tls.to_peers, random)
        while await _unless(stop, recovery.finish()):
            try:
                _check_after_crashes(directory)
                with (
                    crashes.noting(directory.crashes_path) if options.notes_crashes else contextlib.nullcontext(),
                    contextlib.closing(LmdbStore(directory.state_path, layout.TABLES)) as store,
                ):
                    await _run(config, options, tls, StateMachine(store), directory, stop, ready, random)
                return
            except (CorruptLog, DamagedStore, StoreFull, *DAMAGE) as error:
                trouble = DamagedStore(f"{directory.state_path}: {error}") if isinstance(error, DAMAGE) else error
            if not await _unless(stop, recovery.recover(trouble)):
                return
            if isinstance(trouble, DamagedStore):
                crashes.clear(directory.crashes_path)


def _check_after_crashes(directory: DataDirectory) -> None:
    """Raise DamagedStore where the state has ended processes before and would end this one, too."""
    number, state = crashes.count(directory.crashes_path), directory.state_path
    if not number:
        return
    logger.warning("a process was ended by what it met (%s tells where): every page of %s is read", directory.crashes_path, state)
    check_pages(state, layout.TABLES)
    if number >= CRASHES_BORNE:
        raise DamagedStore(f"{state} may be what has ended {number} processes; delete {directory.crashes_path} to try it again")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work; False: `stop` came first."""
    waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(work)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if waits[1].done():
            waits[1].result()
        return waits[1].done() and not stop.is_set()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _run(
    config: MemberConfig,
    options: ServerOptions,
    tls: MemberTls,
    state: StateMachine,
    directory: DataDirectory,
    stop: asyncio.Event,
    ready: Callable[[], None],
    random: Random,
) -> None:
    driver = await start_member(
        config, directory, state, random, server_context=tls.peers, client_context=tls.to_peers
    )
    servers: list[Server] = []
    services = Services(
        driver.member,
        state,
        _api_limits(config, options),
        random,
        driver.loop,
        auth=_auth_options(config, options),
        retention=options.retention,
        corruption=options.corruption,
        wall_clock=time.time,
        figures=driver.figures,
    )
    try:
        servers = await _listen(config, options, services, tls.clients)
        leader_known = _leader_known(driver)
        if await _first(stop, driver, leader_known.wait()):
            logger.info("ready to serve client requests on %s", ", ".join(config.listen_client_urls))
            ready()
            await _first(stop, driver)
    except MemberRemoved as removal:
        logger.warning("%s; this process ends", removal)
    finally:
        services.stop()
        await _hand_over(driver)
        await driver.stop()
        for server in servers:
            await server.stop(STOP_GRACE_SECONDS)


def _api_limits(config: MemberConfig, options: ServerOptions) -> ApiLimits:
    return ApiLimits(
        max_request_bytes=config.max_request_bytes,
        max_txn_operations=config.max_txn_ops,
        quota_backend_bytes=config.quota_backend_bytes,
        election_timeout_seconds=config.election_timeout_milliseconds / 1000,
        max_learners=config.max_learners,
        watch_progress_notify_interval_seconds=options.watch_progress_notify_interval_seconds,
        lease_checkpoint_interval_seconds=options.lease_checkpoint_interval_seconds,
    )


def _auth_options(config: MemberConfig, options: ServerOptions) -> AuthOptions:
    return AuthOptions(
        auth_token=options.auth_token,
        auth_token_ttl_seconds=options.auth_token_ttl_seconds,
        bcrypt_cost=options.bcrypt_cost,
        client_cert_auth=config.client_cert_auth,
    )


async def _listen(
    config: MemberConfig, options: ServerOptions, services: Services, context: ssl.SSLContext | None
) -> list[Server]:
    limits = Limits(
        message_bytes=config.max_request_bytes + MESSAGE_OVERHEAD_BYTES,
        concurrent_streams=min(config.max_concurrent_streams, MAX_STREAMS),
    )
    http = options.visitors.over(services.http)
    clients = Server(services.routes(), http1=http, limits=limits)
    services.sources.traffic = lambda: (clients.received_bytes, clients.sent_bytes)
    metrics = Server({}, http1=http)
    for server, urls in ((clients, config.listen_client_urls), (metrics, options.listen_metrics_urls)):
        await _listen_on(server, urls, context)
    return [clients, metrics]


async def _listen_on(server: Server, urls: Iterable[str], context: ssl.SSLContext | None) -> None:
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme == "https" and context is None:
            raise ValueError(f"{url} needs --cert-file and --key-file")
        host = None if parts.hostname in (None, "") else parts.hostname
        await server.start(host or "0.0.0.0", parts.port or 2379, context if parts.scheme == "https" else None)


def _leader_known(driver: Driver) -> asyncio.Event:
    known = asyncio.Event()
    if driver.member.leader:
        known.set()

    def on_leadership(leader: int, term: int) -> None:
        if leader:
            known.set()

    driver.member.on_leadership(on_leadership)
    return known


async def _first(stop: asyncio.Event, driver: Driver, *others: Coroutine[Any, Any, bool]) -> bool:
    """Wait for `stop`, the member's own end (raised here), or another event; return whether it was the latter."""
    stopping = asyncio.ensure_future(stop.wait())
    waits = [asyncio.ensure_future(other) for other in others]
    ends: list[asyncio.Future[Any]] = [stopping, driver.failed, *waits]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if driver.failed.done():
            driver.failed.result()
        return not stopping.done()
    finally:
        for wait in (stopping, *waits):
            wait.cancel()


async def _hand_over(driver: Driver) -> None:
    """Let another voter lead before this one goes, so that clients hardly notice."""
    member = driver.member
    if not member.is_leader or driver.failed.done():
        return
    heir = member.changes.heir()
    if not heir:
        return
    moved = asyncio.Event()

    def finish(result: Result) -> None:
        moved.set()

    member.transfer_leadership(heir, finish)
    try:
        await asyncio.wait_for(moved.wait(), TRANSFER_SECONDS)
    except TimeoutError:
        logger.warning("no other member took over the lead in %.1f s", TRANSFER_SECONDS)
