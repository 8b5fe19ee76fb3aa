"""Who asks: a trusted proxy's user, the client certificate, the bearer token's owner, or nobody.

user.py      User and the well-known groups          certificates.py   CN and O of a verified client certificate
tokens.py    service account tokens: verify, issue   chain.py          Authenticator: the order in which they are asked
static_tokens.py bootstrap_tokens.py oidc.py webhook.py    the other tokens, one kind a file
front_proxy.py     X-Remote-* headers of a proxy with a certificate of its own authority
impersonation.py   Impersonate-* headers
"""
