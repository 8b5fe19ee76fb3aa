"""Raft consensus as a pure function of its inputs.  No clock, no disk, no network, no randomness of its own.

    types.py      the vocabulary: Entry, HardState, message kinds, input kinds, Effects (frozen, slotted)
    configuration.py   voters, outgoing voters while membership changes, learners      packing.py   entries as bytes
    log.py        the tail of the log in memory (bounded); what is stable, what is not
    progress.py   what a leader knows of a follower: probe / replicate / snapshot, window of messages in flight
    quorum.py     majorities and joint majorities
    reads.py      ReadIndex: one quorum round for all reads that wait
    core.py       Raft.step(inputs) -> Effects: the one door; a table (role, input) -> handler
    follower.py / candidate.py / leader.py      handlers, one file per role
    invariants.py election safety, log matching, leader completeness, state-machine safety, monotonic term and commit

Contract
    raft = Raft(config, restored, random)   restored: hard state, snapshot mark, log tail read from disk, applied index
    effects = raft.step(inputs)             inputs: any message as it stands, Tick, Campaign, Propose, Read, Persisted,
                                            ProposeConfiguration, Transfer, Compacted, SnapshotSent, Unreachable, PeerDown
    effects.send                 true whatever happens to the disk
    effects.persist              hard state + new tail (+ snapshot mark): one fsync, then give Persisted(number) back
    effects.send_after_persist   votes and append acknowledgements: only after the fsync
    effects.install              a snapshot replaces the state, before the persist that carries its mark
    effects.apply                committed entries that this disk holds, in order, each exactly once
    effects.reads                a read is linearizable once applied >= its index
    effects.accepted / dropped / dropped_reads    what became of this step's proposals; reads without a leader
    effects.snapshots            members that need the state streamed to them
An `Entry` is (index, term, kind, data); `data` is opaque here. Fsyncs may overlap steps: any number of Persists may be
on their way. The core never reads the disk: everything after the snapshot mark is also in memory, and the member keeps
that short with Compacted; a follower that is behind the tail gets a snapshot. Configurations count from the moment they
are appended. A forwarded proposal is taken only in the term it was forwarded in, and once.
Sources: Ongaro & Ousterhout 2014; Ongaro's dissertation (PreVote 9.6, ReadIndex 6.4, membership 4.3).
"""
