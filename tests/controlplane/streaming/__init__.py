"""exec, attach, port-forward, metrics: protocols, the kubelet with real processes, the way through an API server."""
