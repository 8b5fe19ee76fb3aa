"""The ConfigMap `extension-apiserver-authentication`: what an aggregated API server must know to believe this one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import Write
from controlplane.objects import status
from controlplane.objects.kinds import CONFIG_MAPS

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

NAME: Final = "extension-apiserver-authentication"
NAMESPACE: Final = "kube-system"


def _data(services: Services) -> dict[str, str]:
    config = services.config
    data: dict[str, str] = {}
    if config.client_ca_file is not None:
        data["client-ca-file"] = config.client_ca_file.read_text("ascii")
    if config.requestheader_client_ca_file is not None:
        data |= {
            "requestheader-client-ca-file": config.requestheader_client_ca_file.read_text("ascii"),
            "requestheader-allowed-names": json.dumps(config.requestheader_allowed_names),
            "requestheader-username-headers": json.dumps(config.requestheader_username_headers),
            "requestheader-group-headers": json.dumps(config.requestheader_group_headers),
            "requestheader-uid-headers": json.dumps(config.requestheader_uid_headers),
            "requestheader-extra-headers-prefix": json.dumps(config.requestheader_extra_headers_prefix),
        }
    return data


async def publish(services: Services) -> None:
    """Create or renew it: the authorities may have changed since the last start."""
    data, environment = _data(services), services.environment
    key = layout.key("", CONFIG_MAPS.plural, NAMESPACE, NAME)
    metadata = {"name": NAME, "namespace": NAMESPACE, "uid": environment.uid()}
    new: Object = {"apiVersion": "v1", "kind": CONFIG_MAPS.kind, "data": data}
    if await services.store.create(
        key, {**new, "metadata": {**metadata, "creationTimestamp": environment.timestamp()}}
    ):
        return

    async def decide(current: Object) -> Write:
        return Write({**current, "data": {**(current.get("data") or {}), **data}})

    await services.store.change(key, decide, lambda: status.not_found(CONFIG_MAPS, NAME))
