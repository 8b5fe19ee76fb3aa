"""Pods for the kubelet's tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Object = dict[str, Any]


def container(name: str = "main", command: list[str] | None = None, **fields: Any) -> Object:
    """A container with a command."""
    return {"name": name, "image": "busybox", "command": command or ["sleep", "1000"], **fields}


def make_pod(name: str = "web", *, node: str = "n1", uid: str = "", annotations: Any = None, **spec: Any) -> Object:
    """A bound pod; `spec` fields win."""
    spec.setdefault("containers", [container()])
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec["nodeName"] = node
    metadata = {"name": name, "namespace": "default", "uid": uid or f"uid-{name}", "labels": {"app": name}}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}
