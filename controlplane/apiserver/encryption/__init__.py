"""Encryption at rest: what stands in the store's files is sealed with keys that the store does not have.

    providers.py       one way to seal a value: aesgcm, aescbc, secretbox, identity.  Pure
    configuration.py   Kubernetes' EncryptionConfiguration: which resources are sealed by what
    backend.py         a `Backend` that seals on the way in and opens on the way out; everything above it sees plain values
    reload.py          the file, read again when it changes

Stored values have Kubernetes' form (`k8s:enc:aesgcm:v1:<key name>:...`), bound to their key: a value that is moved to
another key cannot be opened. Any configured provider may have written a value; the first one writes. A value that is not
as the first would write it is `stale`, and stored anew by the next write, even by one that changes nothing.
"""

from controlplane.apiserver.encryption.backend import SealingBackend
from controlplane.apiserver.encryption.configuration import Rules, parse

__all__ = ["Rules", "SealingBackend", "parse"]
