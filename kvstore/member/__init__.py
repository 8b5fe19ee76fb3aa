"""One member: Raft, log, state and peers joined in one turn loop, as synchronous code over ports.

    ports.py       what a member needs of the world: StateMachine, Log, Transport, Clock (protocols)
    member.py      Member: the inbox, the turn, the waiters
    envelope.py    the entry's data: kind, proposing member, request number, then the client's own bytes
    transport.py   messages between members over kvstore.rpc (proto/kvstore/pb/raft.proto); snapshots streamed in chunks
    driver.py      the asyncio shell: ticks, disk thread, wake-ups
    config.py      MemberConfig: names, URLs, timing; flags of etcd map to it one to one

A turn: drain the inbox, Raft.step, one durable log transaction, send, apply what is committed, answer the waiters, end_of_turn.
Disk acknowledgements, peer messages and ticks re-enter by the same inbox. Nothing here awaits; chaos/sim drives the same class.

    member.propose(data: bytes, done: Callable[[Result], None])      any member; forwarded to the leader; Result = Ok(value) | Failed(code, text)
    member.read(done: Callable[[Result], None])                      linearizable barrier (ReadIndex, batched)
    member.status() -> MemberStatus                                  leader, term, indexes, role, members, is_learner
    member.on_leadership(callback)                                   told (leader_id, term) after each change
StateMachine port (kvstore.mvcc implements it; tests use a dict)
    apply(index, term, data) -> value for the waiter;  end_of_turn();  commit() -> durable applied index
    snapshot() -> an iterator of chunks over one consistent view;  restore(chunks);  applied_index
"""
