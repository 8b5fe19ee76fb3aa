"""The node agent.

    lifecycle.py   PURE: pod + what the runtime reports + now -> actions and status      model.py      its vocabulary
    podstatus.py   PURE: phase, conditions, container statuses      recall.py  PURE: what a restarted node still knows
    worker.py      one pod's shell: looks, does, waits
    runtimes/      the Runtime port; process.py (a container is a process), simulated.py (none, for thousands of nodes)
    environment.py resources.py images.py volumes.py addresses.py     PURE: what a container gets
    starter.py     from a manifest to a StartRequest         podvolumes.py sources.py  volumes on disk, and what they show
    probes.py checks.py hooks.py   questions put to containers          statuswriter.py  tells the API, newest only
    access.py      who may ask a node what                        certificates.py   its own certificate: first and further ones
    server.py metrics.py   HTTPS: /containerLogs, /pods, /stats/summary, /metrics/resource, /healthz
    streaming/     /exec, /attach, /portForward: WebSocket and SPDY, sessions, forwarded ports
    nodestatus.py registration.py   the Node, its status, its lease     agent.py  one node       service.py  run, run_many
    config.py command.py   KubeletConfig and `pilothouse kubelet`

For programs in containers
    Each pod has a loopback address of its own: bind to it (env PILOTHOUSE_POD_IP, or a fieldRef of status.podIP), to ports
    above 1023. Where the kernel allows mount namespaces (root, or unprivileged user namespaces), volumes are at their
    mountPath; where not, they are below the working directory, which PILOTHOUSE_CONTAINER_ROOT names. Each process carries
    PILOTHOUSE_NODE, PILOTHOUSE_NODE_ROOT, PILOTHOUSE_POD_UID, PILOTHOUSE_CONTAINER_ID (and PILOTHOUSE_CLUSTER where told).
    A container is no security boundary here: it has the agent's rights.
Promises: a container dies with its node; a status is told until the API has it; a pod's object is deleted only after its
containers have ended. State is in the API alone: a restarted node reads back what it told, and starts its pods again.
Forwarded ports: looked for among the sockets of the pod's own processes: first at the pod's address, then at 0.0.0.0, then at
127.0.0.1; another pod's port is never dialled.
Not here: images, pod networks of their own, CPU limits, volumes other than emptyDir,
configMap, secret, projected, downwardAPI and hostPath.
"""

from controlplane.kubelet.config import ConfigurationError, KubeletConfig
from controlplane.kubelet.service import run, run_many

__all__ = ["ConfigurationError", "KubeletConfig", "run", "run_many"]
