"""How a member's life begins: it founds a cluster with others, joins a running one, or goes on as who it was.

    who = await identified(config, directory, context)    config with the identity that the data directory or a peer gave
    found(config, log) -> Restored                         a new log
    isolate(config, log, restored) -> Restored             --force-new-cluster: the log goes on with this member alone
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from dataclasses import replace

from kvstore.member.config import MemberConfig
from kvstore.member.envelope import Purpose, seal
from kvstore.member.membership import Change, ChangeKind, Membership, decode_membership, encode_change
from kvstore.member.ports import Log, MemberInfo
from kvstore.raft.configuration import make_configuration
from kvstore.raft.types import Entry, EntryKind, HardState, Persist, Restored, SnapshotMark
from kvstore.rpc import Channel, RpcError
from kvstore.storage import codec
from kvstore.storage.data_dir import DataDirectory, Identity, WrongDataDirectory

logger = logging.getLogger("kvstore.member")

MEMBERS = "/pilothouse.raft.Peer/Members"
ASK_TIMEOUT_SECONDS = 2.0
JOIN_SECONDS = 10.0  # for so long it is tried: a peer may not have heard yet that this member was added
JOIN_PAUSE_SECONDS = 0.25


class CannotJoin(ValueError):
    """No peer knows this member; the message says what was asked and answered."""


async def identified(config: MemberConfig, directory: DataDirectory, context: ssl.SSLContext | None) -> MemberConfig:
    """Claim the directory; raises WrongDataDirectory, MemberRemoved, CannotJoin."""
    known = directory.identity()
    if known is not None:
        is_expected = config.initial_cluster_state == "existing" or config.is_own(known) or directory.founding_table()
        if known.name != config.name or not is_expected:
            directory.identify(Identity(config.cluster_id, config.member_id, config.name))
        if not directory.has_begun:
            await _refuse_amnesia(config, directory, context)
        return replace(config, identity=known, founding_table=directory.founding_table())
    if config.force_new_cluster:
        raise WrongDataDirectory(f"--force-new-cluster needs the data of a member; {directory.path} has none")
    if config.initial_cluster_state == "existing":
        return await _join(config, directory, context)
    await _refuse_amnesia(config, directory, context)
    directory.identify(Identity(config.cluster_id, config.member_id, config.name))
    return config


async def _refuse_amnesia(config: MemberConfig, directory: DataDirectory, context: ssl.SSLContext | None) -> None:
    """A founder without data, whom its peers know as one that has run, has lost its votes: it must not vote again."""

    async def ask(url: str) -> bytes:
        try:
            return await _ask(url, context)
        except (RpcError, ValueError):
            return b""  # not there yet, as at every first start

    urls = [url for name, url in config.initial_cluster if name != config.name]
    for answer in filter(None, await asyncio.gather(*map(ask, urls))):
        cluster_id, packed = codec.unpack(answer)
        row = _own_row(decode_membership(packed).listed(), config.initial_advertise_peer_urls)
        mine = known.cluster_id if (known := directory.identity()) is not None else config.cluster_id
        if cluster_id == mine and row is not None and row.client_urls:  # it has published itself
            raise _has_run_before(row, directory)


def _has_run_before(row: MemberInfo, directory: DataDirectory) -> CannotJoin:
    return CannotJoin(
        f"member {row.member_id:x} ({row.name}) has run before, and {directory.path} has none of its data: "
        "remove it from the cluster and add it again"
    )


async def _join(config: MemberConfig, directory: DataDirectory, context: ssl.SSLContext | None) -> MemberConfig:
    peers = [url for name, url in config.initial_cluster if name != config.name]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + JOIN_SECONDS
    reasons: dict[str, str] = {}
    while True:
        for url in peers:
            try:
                cluster_id, packed = codec.unpack(await _ask(url, context))
            except (RpcError, ValueError) as error:
                reasons[url] = str(error)
                continue
            row = _own_row(decode_membership(packed).listed(), config.initial_advertise_peer_urls)
            if row is None:
                reasons[url] = f"no member has the peer URLs {','.join(config.initial_advertise_peer_urls)}"
            elif row.name:
                raise _has_run_before(row, directory)
            else:
                identity = Identity(cluster_id, row.member_id, config.name)
                directory.keep_founding_table(packed)
                directory.identify(identity)
                logger.info("joins cluster %x as member %x", cluster_id, row.member_id)
                return replace(config, identity=identity, founding_table=packed)
        if not peers or loop.time() >= deadline:
            told = "; ".join(f"{url}: {reason}" for url, reason in reasons.items()) or "--initial-cluster names nobody else"
            raise CannotJoin(f"cannot join the existing cluster: {told}")
        await asyncio.sleep(JOIN_PAUSE_SECONDS)


async def _ask(url: str, context: ssl.SSLContext | None) -> bytes:
    channel = Channel(url, context if url.startswith("https://") else None, connect_timeout_seconds=ASK_TIMEOUT_SECONDS)
    try:
        return await channel.unary(MEMBERS, b"", timeout=ASK_TIMEOUT_SECONDS)
    finally:
        await channel.close()


def _own_row(rows: Iterable[MemberInfo], urls: Iterable[str]) -> MemberInfo | None:
    own = set(urls)
    return next((row for row in rows if set(row.peer_urls) == own), None)


def founding_membership(config: MemberConfig) -> Membership:
    """The table that a new log starts with."""
    if config.founding_table:
        return decode_membership(config.founding_table)
    return Membership(config.initial_members())


def found(config: MemberConfig, log: Log) -> Restored:
    """A new log: it starts at index 0, with the members of --initial-cluster or, in a cluster that runs, with nobody."""
    voters = () if config.founding_table else config.ids.values()
    mark = SnapshotMark(0, 0, make_configuration(voters))
    log.begin_install(mark, founding_membership(config).encode())
    log.save(Persist(0, HardState(0, 0), (), mark))
    return Restored(HardState(0, 0), mark, (), 0)


def isolate(config: MemberConfig, log: Log, restored: Restored) -> Restored:
    """Go on alone, with everything that this log holds: what nobody else confirmed counts too."""
    me, last = config.member_id, restored.entries[-1] if restored.entries else None
    index, last_term = (last.index, last.term) if last else (restored.snapshot.index, restored.snapshot.term)
    term = max(restored.hard_state.term, last_term) + 1
    change = seal(Purpose.CHANGE, 0, 0, encode_change(Change(ChangeKind.ISOLATE, me)))
    entries = (
        Entry(index + 1, term, EntryKind.CONFIGURATION, make_configuration([me]).encode()),
        Entry(index + 2, term, EntryKind.COMMAND, change),
    )
    hard_state = HardState(term, me)
    log.save(Persist(0, hard_state, entries, None))
    logger.warning("member %x goes on as the only member of its cluster", me)
    return replace(restored, hard_state=hard_state, entries=restored.entries + entries)
