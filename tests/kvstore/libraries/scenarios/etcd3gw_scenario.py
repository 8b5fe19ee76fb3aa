"""PyPI's etcd3gw (OpenStack's, JSON gateway): `python etcd3gw_scenario.py HOST PORT`."""

import sys
import threading

import etcd3gw
from outcomes import Outcomes

out = Outcomes()
client = etcd3gw.client(host=sys.argv[1], port=int(sys.argv[2]), api_path="/v3/", timeout=10)

VOLATILE = {"cluster_id", "member_id", "raft_term", "raftIndex", "raftTerm", "leader"}
NEWER = {"dbSizeQuota", "downgradeInfo", "storageVersion"}  # of etcd 3.6 and 3.7


def stable(value):
    """Without ids, which differ between clusters."""
    if isinstance(value, dict):
        return {key: stable(one) for key, one in value.items() if key not in VOLATILE}
    return [stable(one) for one in value] if isinstance(value, list) else value


out.note("put", client.put("key", "1"))
out.note("get", client.get("key"))
out.note("get with metadata", [[value, stable(meta)] for value, meta in client.get("key", metadata=True)])
out.note("get nothing", client.get("none"))
out.note("create", [client.create("once", "1"), client.create("once", "2")])
out.note("replace", [client.replace("once", "1", "3"), client.replace("once", "1", "4")])
for index in range(5):
    client.put(f"many/{index}", str(9 - index))
out.note("prefix", [[value, stable(meta)] for value, meta in client.get_prefix("many/")])
out.note("sorted", [value for value, _ in client.get_prefix("many/", sort_order="descend", sort_target="value")])
out.note("all", len(client.get_all()))
out.note("delete", [client.delete("once"), client.delete("once")])
out.note("delete prefix", client.delete_prefix("many/"))

encode = etcd3gw.utils._encode
won = client.transaction({
    "compare": [{"key": encode("key"), "result": "EQUAL", "target": "VALUE", "value": encode("1")}],
    "success": [{"request_put": {"key": encode("key"), "value": encode("2")}},
                {"request_range": {"key": encode("key")}}],
    "failure": [],
})  # fmt: skip
out.note("transaction", stable(won))
out.attempt("duplicate keys", lambda: client.transaction(
    {"success": [{"request_put": {"key": encode("a")}}, {"request_put": {"key": encode("a")}}]}))  # fmt: skip

events, cancel = client.watch("watched")
writer = threading.Thread(target=lambda: [client.put("watched", "1"), client.put("watched", "2"), client.delete("watched")])
writer.start()
out.note("watch", [stable(next(events)) for _ in range(3)])
writer.join()
cancel()

lease = client.lease(ttl=100)
client.put("leased", "1", lease=lease)
out.note("lease", [98 <= lease.ttl() <= 100, lease.keys(), lease.refresh(), lease.revoke(), client.get("leased")])
out.attempt("unknown lease", lambda: client.put("leased", "1", lease=type(lease)(12345, client)))
with client.lock("door", ttl=20) as lock:
    out.note("lock", [lock.is_acquired(), client.lock("door", ttl=20).acquire()])
out.note("unlocked", client.lock("door", ttl=20).acquire())

status = client.status()
out.note("status", [sorted(set(status) - NEWER), status["version"].split(".")[0], "dbSize" in status])
out.note("members", [[sorted(member), member["clientURLs"]] for member in client.members()])
out.attempt("a path that is none", lambda: client.post(client.get_url("/none"), json={}))
out.tell()
