"""Traffic: Services to their endpoints, and clients to the masters.

    forwarder.py      an L4 forwarder: listener, choice of backend, two pumps with back-pressure
    proxy.py          the service proxy: ClusterIP:port, NodePort and load balancer addresses to ready endpoints
    loadbalancer.py   one address in front of the masters, health-checked
"""
