"""One member's files are gone or wrong: it comes back under another id with the help of the others."""

import asyncio
import shutil
from pathlib import Path
from random import Random
from typing import ClassVar

from chaos.faults.base import Fault, any_member
from chaos.faults.maintenance import PAUSE_SECONDS, is_voter, remove_member, until_done
from chaos.target import Target
from kvstore.client import Client
from kvstore.pb import rpc_pb2 as rpc

__all__ = ["DAMAGE_FAULTS"]

BACK_SECONDS = 30.0
ALARM = "/etcdserverpb.Maintenance/Alarm"
CHECK_FLAG = "experimental-initial-corrupt-check"


class Wipe(Fault):
    """Its directory is deleted; heal removes the member, adds it again, and starts it empty."""

    name = "wipe"
    summary = "the files of one member are deleted; it is removed and joins again"
    is_destructive = True

    async def choose(self, target: Target, random: Random) -> list[str]:
        return any_member(target, random, None)

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        await target.hold_down(victim, self.name)
        await asyncio.to_thread(shutil.rmtree, target.nodes[victim].data, True)

    async def mend(self, target: Target, victim: str) -> None:
        await _join_again(target, victim)
        await target.release(victim, self.name)
        await _wait_back(target, victim)

    async def seen(self, target: Target, victim: str) -> bool:
        return not target.nodes[victim].data.exists()


class Flip(Fault):
    """Bits of its files are flipped while it is down. It must not start as if nothing were wrong; then as `wipe`.

    The log has checksums. The state has none, so it is compared with the others' at the start, as the flag asks.
    """

    is_destructive = True
    where: ClassVar[str]

    async def choose(self, target: Target, random: Random) -> list[str]:
        return any_member(target, random, None)

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        node = target.nodes[victim]
        await target.hold_down(victim, self.name)
        self._said = len(node.words())
        await asyncio.to_thread(flip, node.data / target.program.folders[self.where], random)
        node.held_down.discard(self.name)
        node.flags[CHECK_FLAG] = "true"
        await target.start(victim)
        node.held_down.add(self.name)

    async def mend(self, target: Target, victim: str) -> None:
        node = target.nodes[victim]
        node.flags.pop(CHECK_FLAG, None)
        refused = node.process is not None and node.process.returncode is not None
        if refused or self.where == "state":  # a new disk, as an operator would who was told by an alarm, or not
            await target.hold_down(victim, self.name)
            await asyncio.to_thread(shutil.rmtree, node.data, True)
            await _join_again(target, victim)
        await target.release(victim, self.name)
        await _wait_back(target, victim)
        await _disarm(target)

    async def seen(self, target: Target, victim: str) -> bool:
        node = target.nodes[victim]
        said = node.words()[self._said :]
        return not node.is_running or any(word in said for word in ("checksum", "damaged", "corrupt", "mismatch", "crc"))


def flip(folder: Path, random: Random, bits: int = 64) -> None:
    """Flip bits in the file that holds most; files are made larger than what they hold, so not behind its end."""
    held = {path: len(path.read_bytes().rstrip(b"\0")) for path in folder.rglob("*") if path.is_file()}
    if not any(held.values()):
        return
    fullest = max(held, key=lambda path: held[path])
    with fullest.open("r+b") as file:
        for _ in range(bits):
            at = random.randrange(held[fullest])
            file.seek(at)
            old = file.read(1)
            file.seek(at)
            file.write(bytes([old[0] ^ 1 << random.randrange(8)]))


async def _join_again(target: Target, victim: str) -> None:
    node = target.nodes[victim]
    await remove_member(target, node.peer_url)
    await until_done(
        target, "MemberAdd", rpc.MemberAddRequest(peerURLs=[node.peer_url]), "etcdserver: Peer URLs already exists"
    )
    node.state = "existing"


async def _disarm(target: Target) -> None:
    async with Client(target.direct) as client:
        listed = await client.request(ALARM, rpc.AlarmRequest(action=rpc.AlarmRequest.GET), rpc.AlarmResponse)
        for one in listed.alarms:
            if one.alarm == rpc.CORRUPT:
                off = rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE, memberID=one.memberID, alarm=rpc.CORRUPT)
                await client.request(ALARM, off, rpc.AlarmResponse)


async def _wait_back(target: Target, victim: str) -> None:
    """Until it serves and votes: before that, no other member may lose its files."""
    try:
        async with asyncio.timeout(BACK_SECONDS):
            await target.until_up(victim)
            while not await is_voter(target, target.nodes[victim].peer_url):  # noqa: ASYNC110 (as `until_up`)
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        return  # another fault holds it; the run's end tells


DAMAGE_FAULTS: tuple[type[Fault], ...] = (
    Wipe,
    type("FlipLog", (Flip,), {"name": "flip-log", "summary": "bits of one member's log are flipped", "where": "log"}),
    type(
        "FlipState",
        (Flip,),
        {"name": "flip-state", "summary": "bits of one member's state are flipped", "where": "state"},
    ),
)
