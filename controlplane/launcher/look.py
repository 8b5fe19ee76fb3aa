"""A look at the API with the standard library alone, so that the launcher's own process stays light."""

import http.client
import json
import ssl
from pathlib import Path
from urllib.parse import urlsplit


def ready_nodes(server: str, pki: Path, timeout_seconds: float = 5.0) -> set[str]:
    """Return the names of the nodes whose condition Ready is True; an API that does not answer has none."""
    url = urlsplit(server)
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context, timeout=timeout_seconds)
    try:
        connection.request("GET", "/api/v1/nodes", headers={"Accept": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            return set()
        items = json.loads(response.read())["items"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return set()
    finally:
        connection.close()
    return {item["metadata"]["name"] for item in items if is_ready(item)}


def is_ready(node: dict[str, object]) -> bool:
    status = node.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
