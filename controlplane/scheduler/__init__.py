"""The scheduler: one pod at a time onto the best node, decisions as columns over all nodes.

    queue.py      active, backoff and unschedulable pods          snapshot.py   nodes and their pods as numpy columns
    framework.py  filter and score, reasons kept                  plugins/      one behaviour a file; the registry is the order
    decision.py   Decision: a value, with a reason for each node  scheduler.py  the shell: informers, binding, events
"""
