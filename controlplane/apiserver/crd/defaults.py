"""What a CRD may leave out of its spec."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def default_definition(crd: Object) -> Object:
    """The CRD with singular, listKind, conversion strategy and the reference's port of a webhook."""
    spec: Object = crd.get("spec") or {}
    names: Object = dict(spec.get("names") or {})
    kind = names.get("kind") or ""
    if kind and not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = f"{kind}List"
    conversion: Object = dict(spec.get("conversion") or {})
    conversion.setdefault("strategy", "None")
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None and service.get("port") is None:
        client = {**conversion["webhook"]["clientConfig"], "service": {**service, "port": 443}}
        conversion["webhook"] = {**conversion["webhook"], "clientConfig": client}
    return {**crd, "spec": {**spec, "names": names, "conversion": conversion}}
