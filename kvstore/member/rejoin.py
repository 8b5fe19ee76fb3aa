"""How a member comes back when its disk has failed it: with the help of the others (rescue.py), or not at all.

    the log is damaged   it has forgotten votes and acknowledgements. It does not serve, asks the others to replace it, sets
                         its directory aside, and begins anew under the id that they gave it: an empty learner that catches
                         up by snapshot, and then votes. The others need a majority without it; until then it asks again.
    the state is lost    the log is whole: a picture of another member's state takes its place, under the same id.
    files are missing    somebody copied or deleted them: that is refused, unless --recover-from-peers=always.

Each step is noted on the disk before the next, so a crash anywhere is mended by starting again.
"""

import asyncio
import logging
import ssl
import zlib
from collections.abc import Awaitable, Callable
from contextlib import closing
from random import Random
from typing import TypeVar

from kvstore.member.bootstrap import ASK_TIMEOUT_SECONDS
from kvstore.member.config import MemberConfig
from kvstore.member.driver import SpooledSnapshots
from kvstore.member.rescue import REMOVED, REPLACE, STATE
from kvstore.member.wire import decode_header
from kvstore.mvcc import layout
from kvstore.mvcc.state import StateMachine
from kvstore.pb import raft_pb2 as pb
from kvstore.raft.types import Restored, SnapshotMark
from kvstore.rpc import Channel, Code, RpcError
from kvstore.storage import codec
from kvstore.storage.data_dir import Damage, DataDirectory, Identity, MemberRemoved, WrongDataDirectory
from kvstore.storage.file_log import FileLog
from kvstore.storage.lmdb_store import LmdbStore
from kvstore.storage.port import DamagedStore, StoreFull
from kvstore.storage.raft_log import CorruptLog, DamagedLog, StateTooOld
from kvstore.storage.snapshots import BadSnapshot

__all__ = ["Recovery", "term_at"]

logger = logging.getLogger("kvstore.member")

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
REPLACE_SECONDS = 10.0  # a change of membership may wait for an election
SILENCE_SECONDS = 10.0  # of a peer that sends its state
ROOM_PAUSE_SECONDS = 1.0
_SPOOLED = 0

_Value = TypeVar("_Value")


class Recovery:
    """Of one data directory. `context`: for peer URLs with TLS. All waits end when the task is cancelled."""

    def __init__(self, config: MemberConfig, directory: DataDirectory, context: ssl.SSLContext | None, random: Random) -> None:
        self._config, self._directory, self._context, self._random = config, directory, context, random

    async def finish(self) -> None:
        """Go on with a replacement that was begun, if one was. Raises MemberRemoved, WrongDataDirectory."""
        damage = self._directory.damage()
        if damage is None:
            return
        if damage.identity.name != self._config.name:
            raise WrongDataDirectory(f"data directory {self._directory.path} belongs to member {damage.identity.name}")
        former = damage.identity.member_id
        logger.critical("%s: member %x does not serve, and asks the others to replace it", damage.reason, former)
        mine, table = await self._ask_until_done(lambda url: self._ask_for_replacement(url, damage))
        aside = self._directory.replace(damage, mine, table)
        logger.warning("member %x goes on as %x; what was damaged is kept in %s, and may be deleted",
                       former, mine.member_id, aside)

    async def recover(self, error: Exception) -> None:
        """Mend what `error` tells, so that the member can start; else raise it."""
        if isinstance(error, StoreFull):
            logger.warning("no room on the disk: %s; tries again in %.0f s", error, ROOM_PAUSE_SECONDS)
            await asyncio.sleep(ROOM_PAUSE_SECONDS)
            return
        config, directory = self._config, self._directory
        is_willing = config.recover_from_peers != "never" and not config.force_new_cluster
        if isinstance(error, DamagedStore) and is_willing and (self._is_log_enough() or self._peers()):
            logger.critical("%s; the state is made anew, what is left of it is kept in %s", error, directory.set_state_aside())
            return
        identity = directory.identity()
        if identity is None or not is_willing or not self._peers():
            raise error
        if isinstance(error, StateTooOld):
            await self._fetch_state(error.restored, identity)
        elif isinstance(error, DamagedLog) or (isinstance(error, CorruptLog) and config.recover_from_peers == "always"):
            directory.note_damage(identity, str(error))
        else:
            raise error

    def _peers(self) -> list[str]:
        named = [url for name, url in self._config.initial_cluster if name != self._config.name]
        mine = set(self._config.initial_advertise_peer_urls)
        return [url for url in dict.fromkeys([*named, *self._directory.peers()]) if url not in mine]

    def _is_log_enough(self) -> bool:
        """Whether the log holds everything since the beginning."""
        if (self._directory.log_path / "data.mdb").exists():
            return False  # an older version's
        with closing(FileLog(self._directory.log_path)) as log:
            try:
                log.load(0)
            except CorruptLog:
                return False
        return True

    async def _ask_until_done(self, ask: Callable[[str], Awaitable[_Value]]) -> _Value:
        """Ask one peer after the other until one has done it."""
        pause, told = FIRST_PAUSE_SECONDS, ""
        while True:
            reasons: list[str] = []
            for url in self._peers():
                try:
                    return await ask(url)
                except (RpcError, ValueError, OSError, BadSnapshot) as error:
                    reasons.append(f"{url}: {error}")
            if (text := "; ".join(reasons)) != told:
                told = text
                logger.warning("no other member has helped yet, tries again: %s", text)
            await asyncio.sleep(pause * (0.5 + self._random.random()))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    # A new id ----------------------------------------------------------------------------------------------------

    async def _ask_for_replacement(self, url: str, damage: Damage) -> tuple[Identity, bytes]:
        former = damage.identity
        channel = self._channel(url)
        try:
            answer = await channel.unary(REPLACE, codec.pack([former.cluster_id, former.member_id]), timeout=REPLACE_SECONDS)
        except RpcError as error:
            if error.text != REMOVED:
                raise
            self._directory.retire()
            raise MemberRemoved("the member has been permanently removed from the cluster") from error
        finally:
            await channel.close()
        member_id, table = codec.unpack(answer)
        return Identity(former.cluster_id, member_id, former.name), table

    # A new state -------------------------------------------------------------------------------------------------

    async def _fetch_state(self, restored: Restored, identity: Identity) -> None:
        """Put another member's state under our log: at the end of the log or before it, or in the place of both."""
        logger.critical("the state ends before the log begins, at entry %d: asks the others for theirs", restored.snapshot.index)
        spool = SpooledSnapshots(self._directory.incoming_path)
        try:
            mark, membership = await self._ask_until_done(lambda url: self._receive(url, restored, identity, spool))
            if term_at(restored, mark.index) != mark.term:  # what follows there in our log was never committed, or nothing does
                with closing(FileLog(self._directory.log_path)) as log:
                    try:
                        log.load(0)
                    except StateTooOld:
                        log.begin_install(mark, membership)
            with closing(LmdbStore(self._directory.state_path, layout.TABLES)) as store:
                StateMachine(store).restore(spool.take(_SPOOLED))
        finally:
            spool.close()
        logger.warning("the state was made anew from another member's, as of entry %d", mark.index)

    async def _receive(
        self, url: str, restored: Restored, identity: Identity, spool: SpooledSnapshots
    ) -> tuple[SnapshotMark, bytes]:
        channel = self._channel(url)
        try:
            stream = channel.stream(STATE)
            stream.send(codec.pack([identity.cluster_id, identity.member_id]))
            stream.half_close()
            header, is_whole = b"", False
            spool.begin(_SPOOLED)
            while not is_whole:
                async with asyncio.timeout(SILENCE_SECONDS):
                    part = pb.SnapshotPart.FromString(await anext(stream))
                if zlib.crc32(part.chunk) != part.checksum:
                    raise ValueError("a chunk does not match its checksum")
                if part.HasField("header"):
                    header = part.header.SerializeToString()
                elif part.chunk:
                    spool.add(_SPOOLED, part.chunk)
                is_whole = part.is_last
        except (StopAsyncIteration, TimeoutError) as error:
            raise RpcError(Code.UNAVAILABLE, "the stream ended too early") from error
        finally:
            await channel.close()
        install, membership = decode_header(header)
        if install.mark.index < restored.snapshot.index:
            raise ValueError(f"its state ends at {install.mark.index}, before our log begins")
        return install.mark, membership

    def _channel(self, url: str) -> Channel:
        context = self._context if url.startswith("https://") else None
        return Channel(url, context, connect_timeout_seconds=ASK_TIMEOUT_SECONDS)


def term_at(restored: Restored, index: int) -> int | None:
    """The term of an entry of our log; None: it is not there."""
    mark = restored.snapshot
    if index == mark.index:
        return mark.term
    place = index - mark.index - 1
    return restored.entries[place].term if 0 <= place < len(restored.entries) else None
