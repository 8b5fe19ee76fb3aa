"""PyPI's etcd3 (synchronous, grpcio): `python etcd3_scenario.py HOST PORT`."""

import io
import sys
import threading

import etcd3
from outcomes import Outcomes

out = Outcomes()
host, port = sys.argv[1], int(sys.argv[2])
client = etcd3.client(host=host, port=port, timeout=10)


def pair(found):
    value, meta = found
    return [value, meta and [meta.key, meta.create_revision, meta.mod_revision, meta.version, meta.lease_id]]


# keys
out.note("put", client.put("key", "1").header.revision)
out.note("put with previous", client.put("key", "2", prev_kv=True).prev_kv.value)
out.note("get", pair(client.get("key")))
out.note("get serializable", pair(client.get("key", serializable=True)))
out.note("get nothing", pair(client.get("none")))
for index in range(5):
    client.put(f"many/{index}", str(9 - index))
out.note("prefix", [pair(found) for found in client.get_prefix("many/")])
out.note("keys only", [pair(found) for found in client.get_prefix("many/", keys_only=True)])
out.note("sorted", [found[0] for found in client.get_prefix("many/", sort_order="descend", sort_target="value")])
out.note("range", [found[0] for found in client.get_range("many/1", "many/3")])
out.note("all", len(list(client.get_all())))
out.note("create", [client.put_if_not_exists("once", "1"), client.put_if_not_exists("once", "2")])
out.note("replace", [client.replace("once", "1", "3"), client.replace("once", "1", "4")])
out.note("delete", [client.delete("once"), client.delete("once")])
out.note("delete prefix", client.delete_prefix("many/").deleted)

# transactions
tx = client.transactions
won = client.transaction(
    compare=[tx.value("key") == "2", tx.version("key") > 1, tx.create("none") == 0, tx.mod("key") < 100],
    success=[tx.put("key", "3"), tx.get("key"), tx.delete("none")],
    failure=[tx.get("key")],
)
out.note("transaction", [won[0], len(won[1]), [pair(found) for found in won[1][1]]])
out.note("transaction refused", client.transaction(compare=[tx.version("key") == 0], success=[], failure=[tx.put("key", "4")])[0])
twice = [tx.put("a", "1"), tx.put("a", "2")]
out.attempt("duplicate keys", lambda: client.transaction(compare=[], success=twice, failure=[]))

# watches
events, cancel = client.watch("watched")
watcher = threading.Thread(target=lambda: [client.put("watched", str(index)) for index in range(3)] + [client.delete("watched")])
watcher.start()
seen = [next(events) for _ in range(4)]
watcher.join()
out.note("watch", [[type(event).__name__, event.key, event.value, event.version] for event in seen])
cancel()
past, cancel = client.watch_prefix("wat", start_revision=seen[1].mod_revision, prev_kv=True)
again = [next(past) for _ in range(3)]
out.note("watch from the past", [[type(event).__name__, event.value, event.prev_value] for event in again])
cancel()

# leases and locks
lease = client.lease(100, lease_id=77)
client.put("leased", "1", lease=lease)
out.note("lease", [lease.id, lease.ttl, lease.granted_ttl, 98 <= lease.remaining_ttl <= 100, list(lease.keys)])
out.note("renewed", [one.TTL for one in lease.refresh()])
lease.revoke()
out.note("leased key is gone", pair(client.get("leased")))
out.attempt("unknown lease", lambda: client.put("leased", "1", lease=12345) and None)
out.attempt("unknown lease revoked", lambda: client.revoke_lease(12345))
with client.lock("door", ttl=20) as lock:
    out.note("lock", [lock.is_acquired(), client.lock("door", ttl=20).acquire(timeout=0)])
out.note("unlocked", client.lock("door", ttl=20).acquire(timeout=5))

# the cluster and its upkeep
status = client.status()
out.note("status", [status.version.split(".")[0], status.leader.name, status.db_size > 0])
out.note("members", [[member.name, list(member.client_urls) == [f"http://{host}:{port}"]] for member in client.members])
out.note("alarms", [[alarm.alarm_type for alarm in client.list_alarms()], [alarm.alarm_type for alarm in client.create_alarm()]])
out.attempt("written under an alarm", lambda: client.put("key", "5") and None)
out.note("disarmed", [alarm.alarm_type for alarm in client.disarm_alarm()])
out.note("hash", client.hash() != 0)
client.defragment()
snapshot = io.BytesIO()
client.snapshot(snapshot)
out.note("snapshot", [snapshot.tell() % 512, snapshot.tell() > 4096, b"watched" in snapshot.getvalue()])
client.compact(3, physical=True)
out.attempt("compacted again", lambda: client.compact(2))
past, cancel = client.watch("watched", start_revision=2)
out.attempt("watch of what is compacted", lambda: next(past) and None)
client.close()
out.tell()
