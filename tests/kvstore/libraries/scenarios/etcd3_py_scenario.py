"""PyPI's etcd3-py (JSON gateway by its own models): `python etcd3_py_scenario.py HOST PORT`."""

import sys
import threading

import etcd3
from outcomes import Outcomes

out = Outcomes()
client = etcd3.Client(sys.argv[1], int(sys.argv[2]), cluster_version="3.5", timeout=10)


def pair(kv):
    return [kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version]


def users_and_roles():
    client.role_add("reader")
    client.role_grant_permission("reader", key="many/", prefix=True)
    client.user_add("root", "secret")
    client.user_add("anna", "hidden")
    client.user_grant_role("anna", "reader")
    client.role_add("root")
    client.user_grant_role("root", "root")
    out.note("users", [sorted(client.user_list().users), sorted(client.role_list().roles)])
    permissions = client.role_get("reader").perm
    out.note("role", [[str(one.permType), one.key, one.range_end] for one in permissions])
    client.auth_enable()
    anna = etcd3.Client(sys.argv[1], int(sys.argv[2]), username="anna", password="hidden", cluster_version="3.5")
    anna.auth()
    out.attempt("anna reads", lambda: [pair(kv) for kv in anna.range("many/1").kvs])
    out.attempt("anna writes", lambda: anna.put("many/1", "2"))
    out.attempt("anna reads elsewhere", lambda: anna.range("key"))
    out.attempt("nobody reads", lambda: client.range("key"))
    anna.close()
    root = etcd3.Client(sys.argv[1], int(sys.argv[2]), username="root", password="secret", cluster_version="3.5")
    root.auth()
    root.auth_disable()
    root.close()
    out.attempt("a wrong user", lambda: client.user_get("nobody"))


out.note("put", client.put("key", "1").header.revision)
out.note("put with previous", pair(client.put("key", "2", prev_kv=True).prev_kv))
out.note("get", [pair(kv) for kv in client.range("key").kvs])
for index in range(5):
    client.put(f"many/{index}", str(9 - index))
found = client.range("many/", prefix=True, limit=2)
out.note("prefix", [[pair(kv) for kv in found.kvs], found.more, found.count])
out.note("sorted", [kv.value for kv in client.range("many/", prefix=True, sort_order="DESCEND", sort_target="VALUE").kvs])
out.note("counted", client.range("many/", prefix=True, count_only=True).count)
out.note("old revision", [pair(kv) for kv in client.range("key", revision=2).kvs])
out.attempt("future revision", lambda: client.range("key", revision=1000))
out.note("delete", client.delete_range("many/0", prev_kv=True).deleted)

transaction = client.Txn()
transaction.compare(transaction.key("key").value == "2")
transaction.success(transaction.put("key", "3"))
transaction.success(transaction.range("key"))
transaction.failure(transaction.delete("key"))
answer = transaction.commit()
out.note("transaction", [answer.succeeded, [kv.value for kv in answer.responses[1].response_range.kvs]])

watcher = client.Watcher(key="watched", start_revision=1)
writer = threading.Thread(target=lambda: [client.put("watched", "1"), client.put("watched", "2"), client.delete_range("watched")])
writer.start()
seen = []
with watcher:
    for event in watcher:
        seen.append([event.type.name, event.key, event.value])
        if len(seen) == 3:
            break
writer.join()
out.note("watch", seen)

lease = client.Lease(ttl=100, ID=77)
lease.grant()
client.put("leased", "1", lease=77)
out.note("lease", [98 <= lease.ttl() <= 100, lease.time_to_live(keys=True).keys, lease.keepalive_once().TTL, lease.alive()])
lease.revoke()
out.note("leased key is gone", client.range("leased").kvs is None)
out.attempt("unknown lease", lambda: client.lease_revoke(12345))

with client.Lock("door", lock_ttl=20) as lock:
    out.note("lock", lock.is_acquired)

users_and_roles()
out.note("members", [member.name for member in client.member_list().members])
out.note("status", client.status().version.split(".")[0])
out.note("hash", client.hash().hash is not None)
out.note("health", str(getattr(client.health(), "health", client.health())))
client.defragment()
client.compact(3)
out.attempt("compacted", lambda: client.range("key", revision=2))
client.close()
out.tell()
