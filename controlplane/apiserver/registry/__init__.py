"""Per-resource strategy: what create, update and delete do to an object of a kind.

fields.py      what field selectors see, per kind        versions.py    one stored object, several group-versions
strategy.py    Strategy and the registry of them         pods.py services.py namespaces.py ...  one small file a kind
deletion.py    grace periods, finalizers, propagation    pipeline.py    defaults, strategy, admission, validation
"""
