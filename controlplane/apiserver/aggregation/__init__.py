"""APIs that other servers serve (APIService, apiregistration.k8s.io), shown and answered as if they were our own.

    local.py          PURE. the APIServices that stand for what this server serves itself, with Kubernetes' priorities
    remote.py         one APIService with a service: where it is, the TLS to speak with it, whether it answers
    registrations.py  follows the APIServices: registers local ones, checks remote ones, writes their conditions
    proxy.py          a request passed on, with the user's name in X-Remote-* headers; watches and upgrades too
    trust.py          the ConfigMap by which the other servers know our certificate
    documents.py      PURE. discovery and OpenAPI of both, merged

A group and version belongs to the server that its APIService names, even where this server could serve it (metrics.k8s.io).
"""
