"""Faults, workloads and checkers for the store and the control plane.

    history.py    what clients did and what they were told: ok, failed, or unknown
    target.py     the cluster under test: endpoints, and what can be done to its members
    faults/       one fault a file: inject, heal, and counters of both
    workloads/    one workload a file: clients that record a history
    checkers/     one checker a file: a history and the store's own log -> violations
    runner.py     joins them for a time and a seed; command.py is `pilothouse chaos`

A timeout is never a failure: such an operation is unknown until the store's log tells. An unknown verdict is a failed run.
"""
