"""What every client of the API uses.

config.py      ClientConfig.from_kubeconfig(path); ClientConfig.from_files(server, ca, cert, key); in_cluster()
http.py        a small HTTP/1.1 client on httptools: keep-alive pool, TLS with resumption, streamed bodies
client.py      ApiClient: the verbs over it
informer.py    Informer: list + watch -> a local Cache with indexes and handlers; survives disconnects, 410, bookmarks
workqueue.py   WorkQueue: one key at a time, de-duplicated, rate-limited retries
controller.py  Controller: observe -> plan -> execute; Done, After(seconds), Terminal; back-off in one place
election.py    LeaderElector on coordination.k8s.io Leases: compare-and-swap, fencing by leaseTransitions
events.py      EventRecorder: core/v1 events, de-duplicated and counted
clock.py       Clock: now() -> aware datetime (UTC), monotonic() -> seconds; SystemClock, FakeClock

client = ApiClient(config)                               (await client.close() at the end; every argument after * by name)
await client.get(PODS, name, namespace, *, subresource="") -> dict
await client.list(PODS, namespace=None, *, label_selector="", field_selector="", limit=0, continue_token="",
                  resource_version="", metadata_only=False) -> dict (the List object)
await client.create(PODS, obj, namespace=None, *, subresource="", name="") -> dict      namespace defaults to the object's
await client.update(PODS, obj, *, subresource="") -> dict        name, namespace, resourceVersion from obj["metadata"]
await client.patch(PODS, name, patch, namespace, *, type="merge"|"strategic"|"json"|"apply", subresource="",
                   field_manager="", force=False) -> dict
await client.delete(PODS, name, namespace, *, grace_period_seconds=None, uid=None, resource_version=None,
                    propagation="") -> dict (the object, or a Status when it is gone)
await client.delete_collection(PODS, namespace, *, label_selector="", field_selector="", ...) -> dict
async for event in client.watch(PODS, namespace=None, *, resource_version="", label_selector="", field_selector="",
                                timeout_seconds=0, bookmarks=True, metadata_only=False): event.type, event.object
await client.raw(method, path, body=None, headers=None, query=None) -> Response(status, headers, body)
await client.stream(method, path, body=b"", headers=None, query=None) -> ResponseStream: async for chunk; close()
Errors: ApiError (controlplane.objects.status: reason, code, message, details) for every error Status; ConnectionLost when
nothing (whole) answered, with `sent`: the outcome is then unknown.
"""
