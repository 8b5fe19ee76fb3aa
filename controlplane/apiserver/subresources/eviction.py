"""pods/eviction: a deletion that respects disruption budgets; 429 while one forbids it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from controlplane.apiserver import admission
from controlplane.apiserver.admission import node_restriction
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import deletion, pipeline
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.store import Write
from controlplane.apiserver.verbs import body, delete
from controlplane.objects import selectors, status
from controlplane.objects.kinds import POD_DISRUPTION_BUDGETS, PODS, Resource

_KIND: Final = Resource("policy", "v1", "evictions", "Eviction", namespaced=True)
_RETRY_SECONDS: Final = 10
MOST_DISRUPTED_PODS: Final = 2000


def _needs_no_budget(pod: Object) -> bool:
    """Pods that do not count: finished, pending, or going already."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or pod["metadata"].get("deletionTimestamp") is not None


async def handle(context: Context, resource: Resource) -> Result:
    if context.info.verb != "create":
        raise status.method_not_allowed()
    eviction = await body.read_object(context, _KIND)
    path = context.info.path
    given = eviction["metadata"].get("name") or path.name
    if given != path.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    options = deletion.options_from(eviction.get("deleteOptions") or {}, context.query)
    key = layout.key("", "pods", path.namespace, path.name)
    entry = await context.services.store.get(key)
    if entry is None:
        raise status.not_found(PODS, path.name)
    pod = entry.object()
    told = pipeline.attributes(context, PODS, "CREATE", eviction, pod, "eviction")
    await node_restriction.validate(told)
    await admission.consult(replace(told, old={}))
    if not _needs_no_budget(pod):
        budgets = await _budgets(context, pod)
        if len(budgets) > 1:
            why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise status.internal_error(why)
        if budgets and not (options.dry_run or context.is_dry_run):
            await _spend(context, budgets[0], pod)
    await delete.remove(context, PODS, key, options)
    return context.answer(status.success(code=201), 201)


async def _budgets(context: Context, pod: Object) -> list[Entry]:
    namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
    cache = await context.services.caches.ready(POD_DISRUPTION_BUDGETS)
    prefix = layout.scope_prefix(POD_DISRUPTION_BUDGETS.group, POD_DISRUPTION_BUDGETS.plural, namespace)
    return [
        entry
        for entry in cache.entries(prefix.encode())
        if selectors.from_selector((entry.object().get("spec") or {}).get("selector")).matches(labels)
    ]


async def _spend(context: Context, budget: Entry, pod: Object) -> None:
    """Take one disruption from the budget in the store; raises 429 when there is none."""
    name = pod["metadata"]["name"]

    async def decide(current: Object) -> Write:
        found: dict[str, Any] = dict(current.get("status") or {})
        allowed = int(found.get("disruptionsAllowed") or 0)
        disrupted = dict(found.get("disruptedPods") or {})
        observed = int(found.get("observedGeneration") or 0)
        if (
            observed < int(current["metadata"].get("generation") or 0)
            or allowed <= 0
            or len(disrupted) >= MOST_DISRUPTED_PODS
        ):
            needed, healthy = int(found.get("desiredHealthy") or 0), int(found.get("currentHealthy") or 0)
            budget_name = current["metadata"]["name"]
            why = f"The disruption budget {budget_name} needs {needed} healthy pods and has {healthy} currently"
            raise status.too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.",
                _RETRY_SECONDS,
                [{"reason": "DisruptionBudget", "message": why}],
            )
        disrupted[name] = context.services.environment.timestamp()
        found |= {"disruptionsAllowed": allowed - 1, "disruptedPods": disrupted}
        return Write({**current, "status": found})

    missing = status.not_found(POD_DISRUPTION_BUDGETS, budget.key.rsplit(b"/", 1)[1].decode())
    await context.services.store.change(budget.key.decode(), decide, lambda: missing)
