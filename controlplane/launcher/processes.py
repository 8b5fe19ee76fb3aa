"""What each kind of process runs: configurations from the plan, then the components' own `run`, on one event loop.

kv            one member of the store
loadbalancer  the one address before the API servers
master        API server, scheduler, controller manager and cloud controller manager
node          node agent and service proxy
simulated     many nodes without processes
"""

import asyncio
import ctypes
import gc
import importlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from controlplane.launcher import configurations
from controlplane.launcher.plan import AnyPlan, Component, Plan
from controlplane.launcher.state import DataDirectory

Run = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]
logger = logging.getLogger("pilothouse.process")

MODULES = {
    "kv": ("kvstore.server", "kvstore.member.config"),
    "loadbalancer": ("controlplane.network",),
    "master": ("controlplane.apiserver", "controlplane.scheduler", "controlplane.controllers", "controlplane.cloud"),
    "node": ("controlplane.kubelet", "controlplane.network"),
    "simulated": ("controlplane.kubelet",),
}


def preload(kind: str) -> None:
    """Import a kind's modules in the supervisor, so that every fork shares them."""
    for name in ("uvloop", *MODULES[kind]):
        importlib.import_module(name)
    if kind == "master":
        from controlplane import scheduler
        from controlplane.objects.scheme import Scheme

        scheduler.preload()
        Scheme.load()
    gc.collect()


def main(directory: DataDirectory, plan: AnyPlan, component: Component, ready_descriptor: int) -> int:
    """Run one component until SIGTERM; return the exit code."""
    import uvloop

    name_process(component.name)
    runs = parts(directory, plan, component)

    def say_ready() -> None:
        os.write(ready_descriptor, b"ready")
        os.close(ready_descriptor)

    gc.set_threshold(50_000, 50, 50)  # objects live long here: collect rarely, as every collection stops the loop
    try:
        uvloop.run(serve(runs, say_ready))
    except Exception as error:
        for cause in leaves(error):
            logger.error("%s failed", component.name, exc_info=cause)
        for cause in leaves(error):  # again in one line each, because the last line is what `up` shows
            logger.error("%s failed: %s: %s", component.name, type(cause).__name__, cause)
        return 1
    return 0


def leaves(error: BaseException) -> list[BaseException]:
    """Return what really happened inside groups of exceptions."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


async def serve(runs: Sequence[Run], say_ready: Callable[[], None]) -> None:
    """Run all parts together; ready when all are. The first failure ends all and is raised.

    At SIGTERM the first part, which the others stand on (a master's API server), stops last: so elections are given back.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    missing = set(range(len(runs)))
    stop_first = asyncio.Event()
    others_left = len(runs) - 1

    def ready(part: int) -> None:
        if part in missing:
            missing.discard(part)
            if not missing:
                say_ready()

    async def run_part(part: int) -> None:
        nonlocal others_left
        await runs[part](stop if part else stop_first, lambda: ready(part))
        if not stop.is_set():
            raise RuntimeError("a part of this process ended by itself")
        others_left -= part > 0
        if others_left == 0:
            stop_first.set()

    async def stop_alone() -> None:
        await stop.wait()
        if others_left == 0:
            stop_first.set()

    async with asyncio.TaskGroup() as group:
        for part in range(len(runs)):
            group.create_task(run_part(part))
        group.create_task(stop_alone())


def parts(directory: DataDirectory, plan: AnyPlan, component: Component) -> list[Run]:
    """Return what a component runs, configured."""
    if component.kind == "kv":
        return [member(directory, plan, component)]
    assert isinstance(plan, Plan)
    makers: dict[str, Callable[[DataDirectory, Plan, Component], list[Run]]] = {
        "loadbalancer": loadbalancer,
        "master": master,
        "node": node,
        "simulated": simulated,
    }
    return makers[component.kind](directory, plan, component)


def member(directory: DataDirectory, plan: AnyPlan, component: Component) -> Run:
    from kvstore import server

    config = configurations.member(directory, plan, component)
    return lambda stop, ready: server.run(config, stop=stop, ready=ready)


def loadbalancer(directory: DataDirectory, plan: Plan, component: Component) -> list[Run]:
    from controlplane import network

    config = configurations.loadbalancer(directory, plan, component)
    return [lambda stop, ready: network.run_loadbalancer(config, stop=stop, ready=ready)]


def master(directory: DataDirectory, plan: Plan, component: Component) -> list[Run]:
    from controlplane import apiserver, cloud, controllers, scheduler

    served = configurations.apiserver(directory, plan, component)
    schedules = configurations.scheduler(directory, component)
    controls = configurations.controllers(directory, component)
    clouds = configurations.cloud(directory, plan, component)
    return [
        lambda stop, ready: apiserver.run(served, stop=stop, ready=ready),
        lambda stop, ready: scheduler.run(schedules, stop=stop, ready=ready),
        lambda stop, ready: controllers.run(controls, stop=stop, ready=ready),
        lambda stop, ready: cloud.run(clouds, stop=stop, ready=ready),
    ]


def node(directory: DataDirectory, plan: Plan, component: Component) -> list[Run]:
    from controlplane import kubelet, network

    configurations.write_instance(directory, plan, component)
    agent = configurations.kubelet(directory, plan, component)
    proxied = configurations.proxy(directory, plan, component)
    return [
        lambda stop, ready: kubelet.run(agent, stop=stop, ready=ready),
        lambda stop, ready: network.run_proxy(proxied, stop=stop, ready=ready),
    ]


def simulated(directory: DataDirectory, plan: Plan, component: Component) -> list[Run]:
    from controlplane import kubelet

    agents = configurations.simulated(directory, plan)
    return [lambda stop, ready: kubelet.run_many(agents, stop=stop, ready=ready)]


def name_process(name: str) -> None:
    """Show the component's name in `ps -o comm` and `top`."""
    pr_set_name = 15
    ctypes.CDLL(None).prctl(pr_set_name, name.encode()[:15], 0, 0, 0)
