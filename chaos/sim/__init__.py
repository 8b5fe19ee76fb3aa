"""The simulated world: the shipped store on virtual time, network and disks. One seed replays one run, byte for byte.

    heap.py       virtual time: callbacks in order of (time, number)      trace.py    what happened: counters and one hash
    clock.py      a host's own clock: rate, jumps                          boundary.py where a process may die between effects
    network.py    packets: delay, loss, duplication, reordering, cut links (one way, whole, bridge, ring)
    files.py      the log's file system: un-synced and torn writes, bits that flip, no room, errors    disk.py    how slow
    host.py       one process: kvstore.member.Member and kvstore.api.Services as shipped, over these ports; start, crash, pause
    watched.py    what is looked at from inside: core, state, and whether a log keeps what it promised
    peers.py      the Transport port on the network                        calls.py    a client's calls on the network
    hands.py      operators: members replaced, added, promoted; what a damaged disk lost is asked of the others
    workloads/    clients as state machines; each records a history
    swarm.py      which faults a seed uses, how strongly, and when: a schedule of data
    faults/       what can go wrong, one function each                     nemesis.py  plays the schedule
    store.py      StoreWorld: all of it, a safety phase and a liveness phase
    run.py        one seed -> Report, many seeds on several processes      shrink.py   the smallest schedule that still fails
    every.py      a written run with a death at every boundary             command.py  `pilothouse sim`
    walk.py       no time at all: the Raft core alone, in any order of events; cores.py is its world

There are no coroutines here: a simulated second costs a few hundred callbacks. Nothing reads the machine's clock and every
draw comes from a Random made of the seed and the name of who draws, so a new draw in one place moves no other.
"""
