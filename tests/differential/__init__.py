"""The same requests to real etcds and to one of our members: every field and error that etcd's documents promise.

    steps.py       what a sequence is made of
    requests.py    hypothesis strategies: keys, leases, watches, what is no request; sequences of them
    scenes.py      hypothesis strategies: users, members, alarms, locks and elections
    methods.py     RPCs by their short names, and their JSON paths
    session.py     one server: performs steps and normalises what comes back
    comparable.py  answers without what differs between any two servers
    revisions.py   revisions relative to the base of a sequence, in requests and in answers
    names.py       members, addresses and versions by names that all servers share
    door.py        who has logged in
    contest.py     calls that wait for their turn
    streams.py     one Watch stream: control messages apart, events by watch
    http.py        one HTTP connection
    known.py       where versions of etcd differ, each with the reason
    test_etcdctl.py  the same etcdctl commands
    arena.py       the servers of a run (real processes), and the comparison

Servers are started once. Before each sequence a server is emptied and compacted, and the revision it then has is the base
of the sequence: drawn revisions name those around it, so that sequences are apart, and hypothesis can shrink them.
"""
