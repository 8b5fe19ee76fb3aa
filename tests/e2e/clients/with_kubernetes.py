"""The official Python client, as its examples use it: create, list, patch, watch, exec, log, port-forward, leader election."""

import datetime
import os
import sys
import threading
import time
import uuid

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client import api_client
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
namespace = sys.argv[1]

# deployment_crud.py
labels = {"app": "py"}
container = client.V1Container(name="c", image="x", command=["sh", "-c", "echo hello; exec sleep 600"])
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
)
spec = client.V1DeploymentSpec(replicas=1, template=template, selector={"matchLabels": labels})
body = client.V1Deployment(api_version="apps/v1", kind="Deployment", metadata=client.V1ObjectMeta(name="py"), spec=spec)
apps.create_namespaced_deployment(namespace, body)
for event in watch.Watch().stream(apps.list_namespaced_deployment, namespace, timeout_seconds=60):
    if event["object"].status and event["object"].status.available_replicas:
        break
else:
    raise SystemExit("never available")
found = apps.read_namespaced_deployment("py", namespace)
found.spec.template.metadata.annotations = {
    "kubectl.kubernetes.io/restartedAt": datetime.datetime.now(datetime.UTC).isoformat()
}
apps.patch_namespaced_deployment("py", namespace, found)
apps.patch_namespaced_deployment_scale("py", namespace, {"spec": {"replicas": 1}})
print("deployment")

# pod_exec.py, pod_portforward.py, logs
serve = "import http.server as h; h.HTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
pod = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "c", "image": "x", "command": [sys.executable, "-u", "-c", f"print('up')\n{serve}"]}]},
}  # fmt: skip
core.create_namespaced_pod(namespace, pod)
while core.read_namespaced_pod("web", namespace).status.phase != "Running":
    time.sleep(0.1)
answer = stream(
    core.connect_get_namespaced_pod_exec, "web", namespace, command=["/bin/sh", "-c", "echo said; echo bad >&2"],
    stderr=True, stdin=False, stdout=True, tty=False,
)  # fmt: skip
assert sorted(answer.split()) == ["bad", "said"], answer
shell = stream(
    core.connect_get_namespaced_pod_exec, "web", namespace, command=["/bin/sh"], stderr=True, stdin=True, stdout=True,
    tty=False, _preload_content=False,
)  # fmt: skip
shell.write_stdin("echo from stdin\nexit 3\n")
shell.run_forever(timeout=20)
assert shell.read_stdout() == "from stdin\n" and shell.returncode == 3
while "up" not in core.read_namespaced_pod_log("web", namespace):
    time.sleep(0.1)
for line in watch.Watch().stream(core.read_namespaced_pod_log, "web", namespace):
    assert line == "up"
    break
forward = portforward(core.connect_get_namespaced_pod_portforward, "web", namespace, ports="8000")
for _ in range(100):
    http = forward.socket(8000)
    http.setblocking(True)
    http.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    if http.recv(12) == b"HTTP/1.0 200":
        break
    time.sleep(0.1)
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", namespace, ports="8000")
else:
    raise SystemExit("nobody answered through the port")
core.delete_namespaced_pod("web", namespace, grace_period_seconds=0)
print("pod")

# job_crud.py, utils.create_from_dict, dynamic client, server-side apply
utils.create_from_dict(
    client.ApiClient(),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made", "namespace": namespace}, "data": {"a": "b"}},
)
configs = dynamic.DynamicClient(api_client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
assert configs.get(name="made", namespace=namespace).data.a == "b"
applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": {"c": "d"}}
configs.server_side_apply(body=applied, name="made", namespace=namespace, field_manager="py", force_conflicts=True)
assert configs.get(name="made", namespace=namespace).data.to_dict() == {"a": "b", "c": "d"}
configs.delete(name="made", namespace=namespace)
print("dynamic")

# leaderelection/example.py
led = threading.Event()
lock = LeaseLock("elected", namespace, str(uuid.uuid4()))
chosen = electionconfig.Config(
    lock, lease_duration=5, renew_deadline=4, retry_period=1, onstarted_leading=led.set, onstopped_leading=None
)
threading.Thread(target=leaderelection.LeaderElection(chosen).run, daemon=True).start()
assert led.wait(20), "nobody leads"
print("leader", flush=True)
apps.delete_namespaced_deployment("py", namespace, propagation_policy="Foreground")
sys.stdout.flush()
os._exit(0)  # the elector's thread goes on, and one that prints while Python ends would abort it
