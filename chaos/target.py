"""The cluster under test: a store that `pilothouse kv up` started on this machine."""

import asyncio
import os
import signal
from pathlib import Path

from controlplane.launcher.plan import StorePlan
from controlplane.launcher.start import ask_supervisor
from controlplane.launcher.state import DataDirectory, LauncherError
from kvstore.client import Client, EtcdError

STATUS_TIMEOUT_SECONDS = 1.0


class Target:
    """Members by name, their endpoints, and the signals that may be sent to them."""

    def __init__(self, directory: DataDirectory, plan: StorePlan) -> None:
        self.directory = directory
        self.members = [component.name for component in plan.components()]
        self.endpoints = [endpoint.removeprefix("http://") for endpoint in plan.store_endpoints]

    async def signal(self, member: str, number: signal.Signals) -> None:
        pid = next(item.pid for item in self.directory.processes() if item.name == member)
        os.kill(pid, number)

    async def start(self, member: str) -> None:
        """Start it again; it may not be seen as dead yet, so ask until the supervisor agrees."""
        for attempt in range(100):
            try:
                await asyncio.to_thread(ask_supervisor, self.directory, "start", member)
            except LauncherError as error:
                if "runs already" not in str(error) or attempt == 99:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def leader(self) -> str | None:
        """Return the member that says it leads, None when none answers so."""
        for member, endpoint in zip(self.members, self.endpoints):
            async with Client([endpoint]) as client:
                try:
                    answer = await asyncio.wait_for(client.status(), STATUS_TIMEOUT_SECONDS)
                except (EtcdError, TimeoutError):
                    continue
            if answer.leader == answer.header.member_id:
                return member
        return None

    @property
    def data_dir(self) -> Path:
        return self.directory.path
