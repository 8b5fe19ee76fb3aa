"""Traffic: Services to their endpoints, and clients to the masters.

    forwarder.py      an L4 forwarder: listener, choice of backend, two pumps with back-pressure
    loadbalancer.py   one address in front of the masters      backends.py  PURE: least connections, health
    probes.py         is a master alive and ready
    proxy.py          the service proxy: ClusterIP:port, NodePort and load balancer addresses to ready endpoints
    routes.py         PURE: a Service and its EndpointSlices -> what listens where, and its backends
    listeners.py      the listeners that follow the routes
    affinity.py       PURE: round robin, and one backend for one client

    await run_loadbalancer(LoadBalancerConfig(host, port, backends), stop=stop, ready=ready)    OSError: cannot bind
    await run_proxy(ProxyConfig(kubeconfig, node_name, node_addresses), stop=stop, ready=ready)
    Backend(host, port)

Several proxies may run on one machine: all listen on the same addresses (SO_REUSEPORT) and any may die.
"""

from controlplane.network.config import LoadBalancerConfig, ProxyConfig
from controlplane.network.forwarder import Backend
from controlplane.network.loadbalancer import run as run_loadbalancer
from controlplane.network.proxy import run as run_proxy

__all__ = ["Backend", "LoadBalancerConfig", "ProxyConfig", "run_loadbalancer", "run_proxy"]
