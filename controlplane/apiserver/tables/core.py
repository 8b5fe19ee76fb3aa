"""Small kinds of the core group."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import AGE, CREATED, Column, Object, Printer, age, some, text
from controlplane.objects.meta import condition_of, get_in

_MOST_ENDPOINTS: Final = 3


def _namespace(obj: Object, now: datetime) -> list[Any]:
    return [text(obj, "status", "phase", absent=""), age(obj, now)]


def _secret(obj: Object, now: datetime) -> list[Any]:
    return [text(obj, "type", absent=""), len(obj.get("data") or ()), age(obj, now)]


def _config_map(obj: Object, now: datetime) -> list[Any]:
    return [len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def _service_account(obj: Object, now: datetime) -> list[Any]:
    return [len(obj.get("secrets") or ()), age(obj, now)]


def _endpoints(obj: Object, now: datetime) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = [port.get("port", 0) for port in subset.get("ports") or ()]
        if ports:
            found += [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for port in ports for ip in addresses]
        else:
            found += addresses
    return [some(found, _MOST_ENDPOINTS), age(obj, now)]


def _quota(obj: Object, now: datetime) -> list[Any]:
    hard: dict[str, str] = get_in(obj, "status", "hard", default={})
    used: dict[str, str] = get_in(obj, "status", "used", default={})
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        part = f"{name}: {used.get(name, '0')}/{hard[name]}"
        (limits if name.startswith("limits") else requests).append(part)
    return [age(obj, now), ", ".join(requests), ", ".join(limits)]


def _component_status(obj: Object, now: datetime) -> list[Any]:
    conditions: list[Object] = obj.get("conditions") or []
    healthy = condition_of({"status": {"conditions": conditions}}, "Healthy") or {}
    status = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.get("status", ""), "Unknown")
    return [status, healthy.get("message", ""), healthy.get("error", "")]


PRINTERS: Final = {
    ("", "namespaces"): Printer((Column("Status"), AGE), _namespace),
    ("", "secrets"): Printer((Column("Type"), Column("Data"), AGE), _secret),
    ("", "configmaps"): Printer((Column("Data"), AGE), _config_map),
    ("", "serviceaccounts"): Printer((Column("Secrets"), AGE), _service_account),
    ("", "endpoints"): Printer((Column("Endpoints"), AGE), _endpoints),
    ("", "limitranges"): CREATED,
    ("", "resourcequotas"): Printer((AGE, Column("Request"), Column("Limit")), _quota),
    ("", "componentstatuses"): Printer((Column("Status"), Column("Message"), Column("Error")), _component_status),
}
