"""Faults, workloads and checkers for the store and the control plane.

    history.py    what clients did and what they were told: ok, failed, or unknown; and the file that keeps it
    transactions.py, watching.py, leasing.py, observed.py   the records: requests on many keys, streams of watchers, leases,
                  and faults, leaders, holders of locks, replicas
    target.py     the cluster under test: endpoints, and what can be done to its members
    faults/       one fault a file: inject, heal, and counters of both
    workloads/    one workload a file: clients that record a history
    checkers/     one checker a file: a history and the store's own log -> violations
    models/       what a right store would do
    report/       a history as a page to look at; `chaos check` and `chaos report`
    runner.py     joins them for a time and a seed; command.py is `pilothouse chaos`

A timeout is never a failure: such an operation is unknown until the store's log tells. An unknown verdict is a failed run.
"""
