"""What every client of the API uses.

config.py      ClientConfig.from_kubeconfig(path); ClientConfig.from_files(server, ca, cert, key); in_cluster()
connection.py  one HTTP/1.1 connection on httptools and the exchange on it
http.py        a small HTTP/1.1 client: keep-alive pool, TLS with resumption, streamed bodies
client.py      ApiClient: the verbs over it
cache.py       Cache: the objects of one resource with indexes (owner uid, namespace, node, label, selector)
informer.py    Informer: list + watch -> a Cache and handlers; survives disconnects, 410, bookmarks; InformerFactory
workqueue.py   WorkQueue: one key at a time, de-duplicated, rate-limited retries
actions.py     Create, Update, Patch, Delete, Note, Plan: what a plan may ask for
controller.py  Controller: observe -> plan -> execute; retries, back-off and read-your-writes in one place
election.py    LeaderElector on coordination.k8s.io Leases: compare-and-swap, fencing by leaseTransitions
participation.py  take_part: the shell of an elected component
command.py     what the commands of all components share: durations, election flags, a run until SIGTERM
events.py      EventRecorder: core/v1 events, de-duplicated and counted
backoff.py     Backoff: doubling delays with jitter
clock.py       Clock: now() -> aware datetime (UTC), monotonic() -> seconds; SystemClock, FakeClock

client = ApiClient(config)                          (await client.close() at the end)
await client.get(PODS, name, namespace, *, subresource="") -> dict
await client.list(PODS, namespace=None, *, label_selector="", field_selector="", limit=0, continue_token="",
                  resource_version="", metadata_only=False) -> dict (the List object)
await client.create(PODS, obj, namespace=None, *, subresource="", name="") -> dict     namespace: default the object's
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
Errors: ApiError (controlplane.objects.status: reason, code, message, details) for every error Status; ConnectionLost
when nothing (whole) answered, with `sent`: the outcome is then unknown.

factory = InformerFactory(client, random=Random(...))
informer = factory.informer(PODS, field_selector="spec.nodeName=n", metadata_only=False)        shared per selection
informer.add_handler(lambda change: ...)       change.type ADDED|MODIFIED|DELETED, change.old, change.new; plain function
factory.start(); await factory.wait_synced(); ...; await factory.close()
informer.cache.get("ns/name"), .in_namespace(ns), .by_node(name), .by_owner(uid), .by_label(k, v), .select(ns, selector)
await informer.wait_for(predicate, timeout_seconds) -> bool

elector = LeaderElector(client, ElectionConfig(name, identity, "kube-system", 15, 10, 2), clock=clock, random=random)
await elector.run(on_started_leading)          async def on_started_leading(fencing_token: int): cancelled on loss
recorder = EventRecorder(client, "component", clock=clock, random=random); task: recorder.run()
recorder.event(obj, "Normal"|"Warning", reason, message)                                     never waits, never fails
await Controller(reconciler, factory, client, recorder, clock=clock, random=random).run()     see controller.Reconciler
"""
