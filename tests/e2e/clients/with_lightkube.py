"""lightkube, as its documents use it: typed and generic resources, apply, patch, scale, watch, log, wait, errors."""

import sys

import lightkube
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import CascadeType

namespace = sys.argv[1]
client = lightkube.Client(namespace=namespace, field_manager="lightkube")
client.create(ConfigMap(metadata=ObjectMeta(name="lk"), data={"a": "b"}))
client.apply(ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="lk"), data={"c": "d"}))
assert client.get(ConfigMap, "lk").data == {"a": "b", "c": "d"}
client.patch(ConfigMap, "lk", {"data": {"a": None}})
assert [each.data for each in client.list(ConfigMap) if each.metadata.name == "lk"] == [{"c": "d"}]
for event, each in client.watch(ConfigMap, fields={"metadata.name": "lk"}):
    assert (event, each.metadata.name) == ("ADDED", "lk")
    break
print("config maps")
container = {"name": "c", "image": "x", "command": ["sh", "-c", "echo hello; exec sleep 600"]}
labels = {"matchLabels": {"app": "lk"}}
template = {"metadata": {"labels": {"app": "lk"}}, "spec": {"containers": [container]}}
spec = {"replicas": 1, "selector": labels, "template": template}
client.create(Deployment.from_dict({"metadata": {"name": "lk"}, "spec": spec}))
client.wait(Deployment, "lk", for_conditions=["Available"])
scale = client.get(Deployment.Scale, "lk")
scale.spec.replicas = 2
assert client.replace(scale, name="lk").spec.replicas == 2
name = next(iter(client.list(Pod, labels={"app": "lk"}))).metadata.name
for line in client.log(name, follow=True):
    assert line.strip() == "hello"
    break
print("deployment")
client.delete(Deployment, "lk", cascade=CascadeType.FOREGROUND)
try:
    client.get(ConfigMap, "none")
except ApiError as error:
    assert error.status.reason == "NotFound" and error.status.code == 404
else:
    raise SystemExit("found what is not there")
Generic = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
client.create(Generic(metadata={"name": "lk"}, spec={"holderIdentity": "me"}))
assert client.get(Generic, "lk").spec["holderIdentity"] == "me"
client.delete(Generic, "lk")
print("generic")
