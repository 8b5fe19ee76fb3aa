"""AdmissionConfiguration (apiserver.config.k8s.io/v1): settings of plugins, in place or in a file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

API_VERSION: Final = "apiserver.config.k8s.io/v1"
KIND: Final = "AdmissionConfiguration"


def read(path: Path) -> dict[str, Any]:
    """Documents by the name of their plugin; raises ValueError and OSError."""
    document = _load(path)
    if not isinstance(document, dict) or document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
        raise ValueError(f"{path} must be of {API_VERSION}, Kind={KIND}")
    found = {}
    for plugin in document.get("plugins") or ():
        name = str(plugin.get("name") or "")
        if plugin.get("configuration") is not None:
            found[name] = plugin["configuration"]
        elif plugin.get("path"):
            found[name] = _load(path.parent / plugin["path"])
    return found


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
