"""The replicated state: etcd's multi-version key-value semantics over an ordered store.  Pure: no clock, no network.

    layout.py     tables and keys: current by user key, history by (key, revision), events by revision, leases, meta
    state.py      StateMachine: apply(index, term, data) -> Outcome; reads; commit(); snapshot and restore
    commands.py   the bytes of a proposal        checks.py    what is wrong with a request whatever the state
    ranges.py     Range with all its options     history.py   reads of the past
    writes.py     put, delete, end of a lease    txns.py      compare, then run one branch
    leases.py     grant, attach, list, expiry    compaction.py  the mark at once, the garbage in slices
    events.py     events of a revision, for watchers that catch up
    hashing.py    one number over the history    working.py   the values passed between them, and told to listeners
    wire.py       pieces of protobuf's format    errors.py    the client's faults as values: code and etcd's text
    model.py      the dumb twin (a list of dicts) that property tests compare with

Values in the tables are encoded `mvccpb.KeyValue` messages, so that a Range splices stored bytes into its answer.
`applied index`, revision and data are written in the same transaction. Requests are the generated protobuf messages.
Failures are values with etcd's code and exact text (kvstore.mvcc.errors), never exceptions, when the client is at fault.

    state = StateMachine(store)                          an OrderedStore with the tables layout.TABLES
    outcome = state.apply(index, term, commands.PUT + PutRequest(...).SerializeToString())
    outcome.revision, outcome.body (the response without its header), outcome.failure
    state.on_turn(listener); state.end_of_turn()         listener(Turn): revisions with their changes, leases, compaction
"""
