"""etcd's services: translate, validate, delegate.  One file per service; the registry below is their order.

    kv.py watch.py lease.py cluster.py maintenance.py      health.py (gRPC health, /health, /livez, /readyz, /version, /metrics)
    watch_hub.py   watchers: synced, catching up, slow; the events of a turn are encoded once and shared
    lessor.py      leases on the leader: expiry by an injected clock, renewals, re-arming after a leader change
    errors.py      the one table: failure -> gRPC code and etcd's exact text
"""
