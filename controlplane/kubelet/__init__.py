"""The node agent.

    lifecycle.py   PURE: pod + what the runtime reports + now -> actions and status
    runtimes/      Runtime port; process.py (a container is a process), simulated.py (no process, for thousands of nodes)
    probes.py  volumes.py  environment.py  images.py  resources.py
    server.py      HTTPS: /containerLogs, /pods, /stats/summary, /metrics/resource, /healthz
    agent.py       the shell: watches its pods, registers the node, renews its lease, reports status
"""
