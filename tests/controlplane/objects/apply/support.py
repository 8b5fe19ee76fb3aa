"""Requests and objects that the tests of this room share."""

from __future__ import annotations

from typing import Any

from controlplane.objects.apply import Request, View
from controlplane.objects.scheme import Scheme

SCHEME = Scheme.load()
TIME = "2026-11-22T08:00:00Z"
LATER = "2026-11-22T09:00:00Z"


def view(api_version: str, kind: str) -> View:
    group, _, version = api_version.rpartition("/")
    return View(api_version, SCHEME.schema(group, version, kind))


def request(obj: dict[str, Any], manager: str, time: str = TIME, **more: Any) -> Request:
    return Request(view(obj["apiVersion"], obj["kind"]), lambda version: None, manager, time, **more)


def config_map(data: dict[str, Any] | None = None, name: str = "a", **metadata: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return found if data is None else {**found, "data": data}


def deployment(containers: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def service(ports: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports, **spec}}


def entry(obj: dict[str, Any], manager: str) -> dict[str, Any] | None:
    """The only entry of a manager."""
    found = [each for each in obj["metadata"].get("managedFields", []) if each["manager"] == manager]
    assert len(found) <= 1
    return found[0] if found else None


def fields(obj: dict[str, Any], manager: str) -> dict[str, Any]:
    found = entry(obj, manager)
    return found["fieldsV1"] if found else {}


def plain(obj: dict[str, Any]) -> dict[str, Any]:
    """The object without its owners."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}
