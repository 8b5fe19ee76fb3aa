"""A proposal's bytes: one byte that names the command, then the client's own request, or what the table says.

    P PutRequest   D DeleteRangeRequest   T TxnRequest   C CompactionRequest
    G LeaseGrantRequest (id chosen, TTL clamped)   R LeaseRevokeRequest   X expiry (leases.encode_expiry)
"""

__all__ = ["COMPACT", "DELETE_RANGE", "LEASE_EXPIRE", "LEASE_GRANT", "LEASE_REVOKE", "PUT", "TXN"]

PUT = b"P"
DELETE_RANGE = b"D"
TXN = b"T"
COMPACT = b"C"
LEASE_GRANT = b"G"
LEASE_REVOKE = b"R"
LEASE_EXPIRE = b"X"
