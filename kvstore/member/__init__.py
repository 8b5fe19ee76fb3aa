"""One member: Raft, log, state and peers joined in one turn loop, as synchronous code over ports.

    ports.py       what a member needs of the world: StateMachine, Log, Transport, Disk (protocols); Ok | Failed
    member.py      Member: the inbox, the turn
    waiters.py     proposals and reads that wait for their end
    upkeep.py      commits of the state, compaction of the log, snapshots out and in
    membership.py  the table of members that are wanted: names, URLs, learners; replicated in the log
    changes.py     changes of it: checks, proposals, and how Raft's configuration follows;  `gone`: who was removed
    bootstrap.py   a member's first moments: founds a cluster, joins one, or goes on alone (--force-new-cluster)
    rejoin.py      back after damage: under a new id, or with another member's state;  rescue.py   who helps it
    envelope.py    the entry's data: kind, proposing member, request number, then the client's own bytes
    wire.py        messages as bytes (proto/kvstore/pb/raft.proto)
    transport.py   messages between members over kvstore.rpc; snapshots streamed in chunks;  links.py  its sending side
    driver.py      the asyncio shell: ticks, disk thread, wake-ups; start_member() makes a whole member
    config.py      MemberConfig: names, URLs, timing; flags of etcd map to it one to one

A turn: drain the inbox, Raft.step, send, one durable log transaction, apply what is committed, answer the waiters,
end_of_turn. Disk acknowledgements, peer messages and ticks re-enter by the same inbox. Nothing here awaits; chaos/sim
drives the same class.

    member.propose(data: bytes, done: Callable[[Result], None])      any member; forwarded to the leader
    member.read(done: Callable[[Result], None])           linearizable barrier (ReadIndex, batched); Ok(None) = go
    member.status() -> MemberStatus                                  leader, term, indexes, role, members, is_learner
    member.on_leadership(callback)                              told (leader_id, term) after each change; 0: none
    member.change_membership(change: Change, done)       add, remove, update, promote; Ok(tuple[MemberInfo, ...])
    member.transfer_leadership(to: int, done)                        MoveLeader; Failed(NOT_LEADER) elsewhere
    member.ask(to, subject: str, payload: bytes, done: Callable[[bytes | None], None])    one question to another member
    member.answer(subject, handler: Callable[[bytes, Callable[[bytes], None]], None])     how this member answers it
    cheap attributes for response headers: member.cluster_id, member.member_id, member.term, member.leader,
    member.is_leader, member.applied_index, member.config (MemberConfig)
Result = Ok(value) | Failed(code, text, certain). `done` is called once, from the turn loop (at once, from inside propose
or read, only where the request is refused: stopped, too many requests); it must not raise. A proposal that a dying
leader provably lost is proposed again; it is never applied twice. What waits longer than config.request_timeout_seconds
(5 s + 2 election time-outs) fails: `etcdserver: no leader` (certain: it never left), `etcdserver: request timed out`.
StateMachine port (kvstore.mvcc implements it; tests use a dict): see ports.py
    apply(index, term, data) -> value for the waiter;  skip(index, term);  end_of_turn();  commit() -> durable index
    snapshot() -> an iterator of chunks over one consistent view;  restore(chunks);  applied_index
"""
