"""kr8s and pykube-ng: objects, exec, logs, queries."""

import sys

import kr8s
import pykube
from kr8s.objects import ConfigMap, Pod

namespace = sys.argv[1]
pod = Pod(
    {
        "metadata": {"name": "kr8s", "namespace": namespace, "labels": {"app": "kr8s"}},
        "spec": {"containers": [{"name": "c", "image": "x", "command": ["sh", "-c", "echo hello; exec sleep 600"]}]},
    }
)
pod.create()
pod.wait("condition=Ready", timeout=60)
assert pod.exec(["sh", "-c", "echo said"]).stdout == b"said\n"
assert next(iter(pod.logs())) == "hello"
pod.label({"more": "yes"})
assert [each.name for each in kr8s.get("pods", namespace=namespace, label_selector={"more": "yes"})] == ["kr8s"]
pod.delete()
print("kr8s")
made = ConfigMap({"metadata": {"name": "kr8s", "namespace": namespace}, "data": {"a": "b"}})
made.create()
api = pykube.HTTPClient(pykube.KubeConfig.from_env())
found = pykube.ConfigMap.objects(api).filter(namespace=namespace).get(name="kr8s")
found.obj["data"]["a"] = "c"
found.update()
made.refresh()
assert made.data.a == "c"
found.delete()
print("pykube")
