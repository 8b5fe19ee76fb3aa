"""Priority and fairness: which requests run now, which wait, which are told to come again (flowcontrol.apiserver.k8s.io/v1).

    classify.py    FlowSchemas compiled: who asks for what -> the first schema that matches.  Pure
    level.py       one priority level: seats, queues, fair order between queues, refusals
    fairness.py    all of it for one server: requests to flows (remembered), seats that levels lend each other, reloads
    objects.py     the objects that a cluster begins with, and those in the store, followed by watch caches
    dumps.py       /debug/api_priority_and_fairness/

A request belongs to a *flow*: a schema and, as that says, the user or the namespace. A level that is busy keeps flows
apart by shuffle sharding: each has a few of its queues (a hand), and joins the shortest; queues take turns, counted in
seats. So a flow that fills its hand leaves the others theirs. Members of system:masters are exempt. A watch has its seats
until its first events are made; exec, attach, port-forward, proxy and log have none.
"""
