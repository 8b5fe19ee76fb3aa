"""Raft consensus as a pure function of its inputs.  No clock, no disk, no network, no randomness of its own.

    types.py      the vocabulary: Entry, HardState, Message kinds, Input kinds, Effects (frozen, slotted)
    log.py        the tail of the log in memory (bounded); what is stable, what is not
    progress.py   what a leader knows of a follower: probe / replicate / snapshot, window of messages in flight
    quorum.py     majorities and joint majorities
    reads.py      ReadIndex: one quorum round for all reads that wait
    core.py       Raft.step(inputs) -> Effects: the one door; a table (role, input) -> handler
    follower.py / candidate.py / leader.py      handlers, one file per role
    invariants.py election safety, log matching, leader completeness, state-machine safety, monotonic term and commit

Contract
    raft = Raft(config, restored, random)            restored: hard state, snapshot mark, log tail read from disk
    effects = raft.step(inputs)                       inputs: Tick | Received | Propose | Read | Persisted | Applied | ...
    effects.send                 true whatever happens to the disk
    effects.persist              hard state + new tail (+ snapshot mark): one fsync, then give Persisted back as an input
    effects.send_after_persist   votes and append acknowledgements: only after the fsync
    effects.apply                committed entries, in order, each exactly once
    effects.reads                a read is linearizable once applied >= its index
An `Entry` is (index, term, kind, data); `data` is opaque here.
Sources: Ongaro & Ousterhout 2014; Ongaro's dissertation (PreVote 9.6, ReadIndex 6.4, membership 4.3).
"""
