"""PyPI's aetcd (asyncio, grpcio): `python aetcd_scenario.py HOST PORT`."""

import asyncio
import io
import sys

import aetcd
from aetcd import rtypes
from outcomes import Outcomes

out = Outcomes()


def pair(found):
    return found and [found.key, found.value, found.create_revision, found.mod_revision, found.version, found.lease]


async def keys(client):
    out.note("put", (await client.put(b"key", b"1")).header.revision)
    out.note("put with previous", (await client.put(b"key", b"2", prev_kv=True)).prev_kv.value)
    out.note("get", pair(await client.get(b"key")))
    out.note("get serializable", pair(await client.get(b"key", serializable=True)))
    out.note("get nothing", pair(await client.get(b"none")))
    for index in range(5):
        await client.put(b"many/%d" % index, b"%d" % (9 - index))
    out.note("prefix", [pair(found) for found in await client.get_prefix(b"many/")])
    newest = await client.get_prefix(b"many/", sort_order="descend", sort_target="value")
    out.note("sorted", [found.value for found in newest])
    out.note("range", [found.value for found in await client.get_range(b"many/1", b"many/3")])
    out.note("all", [found.key for found in await client.get_all(keys_only=True)])
    out.note("replace", [await client.replace(b"key", b"2", b"3"), await client.replace(b"key", b"2", b"4")])
    out.note("delete", [(await client.delete(b"many/0", prev_kv=True)).prev_kv.value, await client.delete(b"many/0")])
    out.note("delete range", (await client.delete_range(b"many/1", b"many/3")).deleted)
    out.note("delete prefix", (await client.delete_prefix(b"many/")).deleted)


async def transactions(client):
    tx = client.transactions
    won = await client.transaction(
        compare=[tx.value(b"key") == b"3", tx.version(b"key") > 1, tx.create(b"none") == 0],
        success=[tx.put(b"key", b"4"), tx.get(b"key"), tx.delete(b"none")],
        failure=[tx.get(b"key")],
    )
    out.note("transaction", [won[0], len(won[1])])
    lost = await client.transaction(compare=[tx.version(b"key") == 0], success=[], failure=[tx.put(b"key", b"5")])
    out.note("transaction refused", lost[0])
    twice = [tx.put(b"a", b"1"), tx.put(b"a", b"2")]
    await out.attempt_async("duplicate keys", client.transaction(compare=[], success=twice, failure=[]))


async def watches(client):
    watch = await client.watch(b"watched")
    for index in range(3):
        await client.put(b"watched", b"%d" % index)
    await client.delete(b"watched")
    seen = []
    async for event in watch:
        seen.append(event)
        if len(seen) == 4:
            break
    out.note("watch", [[str(event.kind), event.kv.key, event.kv.value, event.kv.version] for event in seen])
    await watch.cancel()
    past = await client.watch_prefix(b"wat", start_revision=seen[1].kv.mod_revision, prev_kv=True)
    again = []
    async for event in past:
        again.append([str(event.kind), event.kv.value, event.prev_kv.value])
        if len(again) == 3:
            break
    out.note("watch from the past", again)
    await past.cancel()
    once = asyncio.ensure_future(client.watch_once(b"key", timeout=10, kind=rtypes.EventKind.PUT))
    while not once.done():
        await client.put(b"key", b"once")
        await asyncio.wait([once], timeout=0.1)
    out.note("watch once", (await once).kv.value)


async def leases_and_locks(client):
    lease = await client.lease(100, lease_id=77)
    await client.put(b"leased", b"1", lease=lease)
    info = await client.get_lease_info(77)
    out.note("lease", [lease.id, lease.ttl, info.grantedTTL, 98 <= info.TTL <= 100, list(info.keys)])
    out.note("renewed", (await lease.refresh()).TTL)
    await lease.revoke()
    out.note("leased key is gone", await client.get(b"leased"))
    await out.attempt_async("unknown lease", client.put(b"leased", b"1", lease=12345))
    await out.attempt_async("unknown lease revoked", client.revoke_lease(12345))
    async with client.lock(b"door", ttl=20) as lock:
        out.note("lock", await lock.is_acquired())
    other = client.lock(b"door", ttl=20)
    out.note("unlocked", await other.acquire(timeout=5))
    out.note("released", await other.release())


async def upkeep(client, url):
    status = await client.status()
    out.note("status", [status.version.split(".")[0], status.leader.name, status.db_size > 0])
    members = [member async for member in client.members()]
    out.note("members", [[member.name, list(member.client_urls) == [url]] for member in members])
    raised = await client.create_alarm()
    out.note("alarms", [alarm.alarm_type for alarm in raised])
    await out.attempt_async("written under an alarm", client.put(b"key", b"5"))
    out.note("disarmed", [alarm.alarm_type for alarm in await client.disarm_alarm()])
    out.note("hash", await client.hash() != 0)
    await client.defragment()
    snapshot = io.BytesIO()
    await client.snapshot(snapshot)
    out.note("snapshot", [snapshot.tell() % 512, snapshot.tell() > 4096])
    await client.compact(3, physical=True)
    await out.attempt_async("compacted again", client.compact(2))


async def users(address):
    """Auth by the library's own calls is not offered; who logs in without auth is refused in etcd's words."""
    client = aetcd.Client(**address, username="root", password="secret")
    await out.attempt_async("logging in without auth", client.connect())
    await client.close()


async def main():
    address = {"host": sys.argv[1], "port": int(sys.argv[2])}
    async with aetcd.Client(**address, timeout=10) as client:
        await keys(client)
        await transactions(client)
        await watches(client)
        await leases_and_locks(client)
        await upkeep(client, f"http://{sys.argv[1]}:{sys.argv[2]}")
    await users(address)
    out.tell()


asyncio.run(main())
