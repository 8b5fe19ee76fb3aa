"""The controller manager: one file per controller, `observe` from the cache, a pure `plan(observed, now)`, one executor.

The registry below is the list of controllers; adding one is a file and a line. All run under one election.
"""
