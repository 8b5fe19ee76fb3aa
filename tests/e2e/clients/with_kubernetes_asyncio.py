"""kubernetes_asyncio: create, watch, exec over its WebSocket, log, dynamic client."""

import asyncio
import sys

from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.stream import WsApiClient


async def main(namespace: str) -> None:
    await config.load_kube_config()
    async with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        container = {"name": "c", "image": "x", "command": ["sh", "-c", "echo hello; exec sleep 600"]}
        await core.create_namespaced_pod(namespace, {"metadata": {"name": "aio"}, "spec": {"containers": [container]}})
        async with watch.Watch().stream(core.list_namespaced_pod, namespace, timeout_seconds=60) as events:
            async for event in events:
                if event["object"].metadata.name == "aio" and event["object"].status.phase == "Running":
                    break
        print("watch")
        while "hello" not in await core.read_namespaced_pod_log("aio", namespace):  # noqa: ASYNC110 another process writes it
            await asyncio.sleep(0.1)
        async with WsApiClient() as sockets:
            answer = await client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
                "aio", namespace, command=["sh", "-c", "echo said"], stderr=True, stdin=False, stdout=True, tty=False
            )
        assert answer.strip() == "said", answer
        print("exec")
        patched = await core.patch_namespaced_pod("aio", namespace, {"metadata": {"labels": {"a": "b"}}})
        assert patched.metadata.labels["a"] == "b", patched.metadata.labels  # beside the node's zone and region
        listed = await core.list_namespaced_pod(namespace, label_selector="a=b", limit=1)
        assert [pod.metadata.name for pod in listed.items] == ["aio"]
        await core.delete_namespaced_pod("aio", namespace, grace_period_seconds=0)
        print("patch")


asyncio.run(main(sys.argv[1]))
