"""The cloud controller manager: nodes, load balancers and lifecycle through a provider.

    provider.py   Provider: the port (instances, zones, load balancers)     providers/   one file each; `local` is one machine
    node.py node_lifecycle.py service.py      the controllers
"""
