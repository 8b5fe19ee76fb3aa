"""The simulated world: the shipped store on virtual time, network and disks. One seed replays one run, byte for byte.

    heap.py       virtual time: callbacks in order of (time, number)      trace.py    what happened: counters and one hash
    clock.py      a host's own clock: rate, jumps                          boundary.py where a process may die between effects
    network.py    packets: delay, loss, duplication, reordering, cut links (one way, whole, bridge, ring)
    disk.py       the log's disk: latency, stalls, errors; what a crash loses
    host.py       one process: kvstore.member.Member and kvstore.api.Services as shipped, over these ports; start, crash, pause
    peers.py      the Transport port on the network                        calls.py    a client's calls on the network
    workloads/    clients as state machines; each records a history        verdicts.py checkers over one run
    swarm.py      which faults a seed uses, and how strongly               nemesis.py  what it does, and when
    store.py      StoreWorld: all of it, a safety phase and a liveness phase
    run.py        one seed -> Report; many seeds on several processes;     command.py  `pilothouse sim`

There are no coroutines here: a simulated second costs a few hundred callbacks. Nothing reads the machine's clock and every
draw comes from a Random made of the seed and the name of who draws, so a new draw in one place moves no other.
"""
