"""The replicated state: etcd's multi-version key-value semantics over an ordered store.  Pure: no clock, no network.

    layout.py     keys of the tables: current by user key, history by (key, revision), events by revision, leases, meta
    state.py      StateMachine: apply(index, term, data) -> Outcome; reads; commit(); snapshot and restore
    ranges.py     Range with all its options        writes.py   put, delete, txn, compact
    leases.py     grant, revoke, attach, list       events.py   events of a revision, for watchers that catch up
    model.py      the dumb twin (a list of dicts) that property tests compare with

Values in the tables are encoded `mvccpb.KeyValue` messages, so that a Range splices stored bytes into its answer.
`applied index`, revision and data are written in the same transaction. Requests are the generated protobuf messages.
Failures are values with etcd's code and exact text (kvstore.mvcc.errors), never exceptions, when the client is at fault.
"""
