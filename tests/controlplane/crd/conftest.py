"""A server and its administrator, as the API server's own tests have them, and the CronTab that everybody knows."""

from __future__ import annotations

import copy
from typing import Any

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CUSTOM_RESOURCE_DEFINITIONS, Resource
from tests.controlplane.apiserver.conftest import (  # noqa: F401
    api,
    authority,
    backing,
    base_config,
    client,
    etcd,
    member,
    start_api,
)

Object = dict[str, Any]

CRON_TABS = Resource("stable.example.com", "v1", "crontabs", "CronTab", namespaced=True)
SCHEMA: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cronSpec"],
            "properties": {
                "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
                "image": {"type": "string", "default": "busybox"},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                "port": {"x-kubernetes-int-or-string": True},
                "color": {"type": "string", "enum": ["red", "green"]},
                "note": {"type": "string", "nullable": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "hosts": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            },
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "labelSelector": {"type": "string"}},
        },
    },
}


def definition(**version: Any) -> Object:
    """The CRD of CronTabs; `version` adds to its only version."""
    first = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": copy.deepcopy(SCHEMA)},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.labelSelector",
            },
        },
        "additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        "selectableFields": [{"jsonPath": ".spec.color"}],
        **version,
    }
    return {
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {
                "plural": "crontabs",
                "singular": "crontab",
                "kind": "CronTab",
                "shortNames": ["ct"],
                "categories": ["all"],
            },
            "versions": [first],
        },
    }


def cron_tab(name: str = "a", **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"cronSpec": "* * * * */5", **spec}}


async def defined(client: ApiClient, crd: Object | None = None) -> Object:  # noqa: F811
    """The CRD, created."""
    return await client.create(CUSTOM_RESOURCE_DEFINITIONS, crd or definition())
