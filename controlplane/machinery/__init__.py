"""What every client of the API uses.

    config.py      ClientConfig.from_kubeconfig(path); ClientConfig.from_files(server, ca, cert, key) ; in_cluster()
    http.py        a small HTTP/1.1 client on httptools: keep-alive pool, TLS, chunked streams
    client.py      ApiClient: typed verbs over it
    informer.py    Informer: list + watch -> a local cache with indexes and handlers; survives disconnects, 410, bookmarks
    workqueue.py   WorkQueue: one key at a time, de-duplicated, rate-limited retries
    controller.py  Controller: observe -> plan -> execute; Done, After(seconds), Terminal; backoff in one place
    election.py    LeaderElector on coordination.k8s.io Leases: compare-and-swap in the store, fencing by leaseTransitions
    events.py      EventRecorder: core/v1 events, de-duplicated and counted
    clock.py       Clock: now() -> aware datetime (UTC), monotonic() -> seconds; SystemClock, FakeClock

    client = ApiClient(config)
    await client.get(PODS, name, namespace) -> dict
    await client.list(PODS, namespace=None, label_selector="", field_selector="", limit=0, resource_version="") -> dict (the List object)
    await client.create(PODS, obj, namespace=None, subresource="", name="") -> dict
    await client.update(PODS, obj, subresource="") -> dict           name, namespace and resourceVersion from obj.metadata
    await client.patch(PODS, name, patch, namespace, type="merge"|"strategic"|"json"|"apply", subresource="", field_manager=...) -> dict
    await client.delete(PODS, name, namespace, grace_period_seconds=None, uid=None, resource_version=None, propagation="") -> dict
    async for event in client.watch(PODS, namespace=None, resource_version="", label_selector="", field_selector=""): event.type, event.object
    await client.raw(method, path, body=None, headers=None, query=None) -> Response(status, headers, body);  client.stream(...) for logs
    await client.close()
    Errors: controlplane.objects.status.ApiError (reason, code, message, details) for every Status; ConnectionLost when nothing answered.
"""
