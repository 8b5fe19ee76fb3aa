"""The same requests to real etcds and to one of our members: every field and error that etcd's documents promise.

    steps.py       what a sequence is made of, and the hypothesis strategies that draw it
    revisions.py   revisions relative to the base of a sequence, in requests and in answers
    session.py     one server: performs steps and normalises what comes back
    streams.py     one Watch stream: control messages apart, events by watch
    known.py       where versions of etcd differ, each with the reason
    arena.py       the servers of a run (real processes), and the comparison

Servers are started once. Before each sequence a server is emptied and compacted, and the revision it then has is the base
of the sequence: drawn revisions name those around it, so that sequences are apart, and hypothesis can shrink them.
"""
