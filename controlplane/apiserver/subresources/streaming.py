"""exec, attach and port-forward: not served yet; answered as by a server that lacks them."""

from __future__ import annotations

from controlplane.apiserver.context import Context, Result
from controlplane.objects import status
from controlplane.objects.kinds import Resource


async def handle(context: Context, resource: Resource) -> Result:
    raise status.unknown_resource()
