"""The scheduler: one pod at a time onto the best node, decisions as columns over all nodes.

    podinfo.py requests.py   a pod, read once              queue.py           PURE: active, backing off and unschedulable pods
    columns.py hostports.py  nodes as numpy columns        cluster_events.py  what may help a waiting pod
    cluster.py               placed and assumed pods       framework.py       filter, score, Decision: a value with its reasons
    node_terms.py            terms over label columns      plugins/           one behaviour a file; the registry is the order
    diagnosis.py             a refusal in words            scheduler.py       the loop: changes in, attempts, binding, events out
    reports.py               conditions of refused pods    service.py         clients, informers, election

All but the last three are pure. numpy is imported by `preload()` or `run()`, not by this package.

    await run(SchedulerConfig(kubeconfig, identity=...), stop=stop, ready=ready)     raises ConfigError on a bad kubeconfig
    preload()                                                                        what run will import, for one who forks
"""

import asyncio
from collections.abc import Callable

from controlplane.scheduler.config import SchedulerConfig

__all__ = ["SchedulerConfig", "preload", "run"]


def preload() -> None:
    """Import everything that `run` needs (numpy: 100 ms), so that forked children share it."""
    import controlplane.scheduler.service  # noqa: F401


async def run(config: SchedulerConfig, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Schedule pods, while leading, until `stop` is set; `ready` is called when this scheduler takes part."""
    from controlplane.scheduler.service import serve

    await serve(config, stop=stop, ready=ready)
