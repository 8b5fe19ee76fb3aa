"""Kubernetes' control plane on any etcd v3 store.

    objects/ machinery/                      values, and what every client of the API uses
    apiserver/ scheduler/ controllers/ cloud/ kubelet/ network/     the components: they meet only through the API
    dashboard/ launcher/                     the page; one machine's cluster

Every component has `config.py` (a frozen dataclass), `command.py` (a click command with Kubernetes' flag names that fills it)
and in its package `async def run(config, *, stop: asyncio.Event, ready: Callable[[], None]) -> None`: runs until `stop` is set,
calls `ready` once when it serves; raises on a configuration it cannot serve. The launcher forks and calls the same `run`.
"""
