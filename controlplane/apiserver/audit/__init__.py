"""The audit log: who asked what, what was decided, what came of it (audit.k8s.io/v1).

    policy.py     which requests are written, and how much of them.  Pure
    events.py     an Event of one stage of a request, as a document
    auditor.py    the stages of a request, told by `app.py`
    log.py        the file: lines of JSON, written beside the loop, rotated
    webhook.py    a program outside: batches of events, tried a few times

Switched off (no `--audit-policy-file`) it costs a comparison a request. Requests never wait for the file or the webhook: what
comes while their buffer is full is dropped, counted and told in the server's log.
"""

from controlplane.apiserver.audit.auditor import Auditor, Record, Sink

__all__ = ["Auditor", "Record", "Sink"]
