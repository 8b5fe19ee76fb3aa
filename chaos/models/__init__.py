"""What a right store would do, as plain as possible: dictionaries, one revision after another.

    store.py      keys, revisions, versions, leases; guards, puts, ranges and deletes, compared with what was answered
"""
