"""Faults, workloads and checkers for the store and the control plane.

    history.py    what clients did and what they were told: ok, failed, or unknown; and the file that keeps it
    transactions.py, watching.py, leasing.py, observed.py   the records: requests on many keys, streams of watchers, leases,
                  and faults, leaders, holders of locks, replicas
    target.py     the cluster under test: member processes of this run, and what can be done to them
    net/, machine/   what may be wrong beneath a process: links and packets; system calls, clocks, disks
    faults/       what is injected and healed, with counters of both and of its effect
    historian.py  writes down everything the store did, while it does it
    workloads/    one workload a file: clients that record a history
    checkers/     one checker a file: a history and the store's own log -> violations
    models/       what a right store would do
    report/       a history as a page to look at; `chaos check` and `chaos report`
    runner.py     joins them for a time and a seed; summary.py tells; command.py is `pilothouse chaos`

A timeout is never a failure: such an operation is unknown until the store's log tells. An unknown verdict is a failed run.
"""
