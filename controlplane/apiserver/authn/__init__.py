"""Who asks: the client certificate, a service account's token, or nobody.

user.py      User and the well-known groups          certificates.py   CN and O of a verified client certificate
tokens.py    service account tokens: verify, issue   chain.py          Authenticator: the order in which they are asked
impersonation.py   Impersonate-* headers
"""
