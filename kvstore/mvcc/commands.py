"""A proposal's bytes: one byte that names the command, then the client's own request, or what the table says.

    P PutRequest   D DeleteRangeRequest   T TxnRequest   C CompactionRequest
    G LeaseGrantRequest (id chosen, TTL clamped)   R LeaseRevokeRequest   X expiry (leases.encode_expiry)
    K leases.encode_checkpoint
    U one byte of auth.KINDS, then that request    M alarms.encode_change
    A identity (permissions.encode_identity), then one of the above: what a client proposes while auth is on
    c CompactionRequest, of the server itself      V DowngradeRequest
"""

__all__ = ["ALARM", "AS_USER", "AUTH", "AUTO_COMPACT", "COMPACT", "DELETE_RANGE", "DOWNGRADE", "LEASE_CHECKPOINT", "LEASE_EXPIRE",
           "LEASE_GRANT", "LEASE_REVOKE", "PUT", "TXN"]  # fmt: skip

PUT = b"P"
DELETE_RANGE = b"D"
TXN = b"T"
COMPACT = b"C"
LEASE_GRANT = b"G"
LEASE_REVOKE = b"R"
LEASE_EXPIRE = b"X"
LEASE_CHECKPOINT = b"K"
AUTH = b"U"
ALARM = b"M"
AS_USER = b"A"
AUTO_COMPACT = b"c"
DOWNGRADE = b"V"
