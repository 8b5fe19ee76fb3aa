"""An operator as kopf's documents show one: a WebApp becomes a Deployment; a webhook refuses what makes no sense."""

import os
from typing import Any

import kopf
from kubernetes import client, config


@kopf.on.startup()  # type: ignore[arg-type]
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    config.load_kube_config()
    settings.posting.enabled = True
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1",
        host="127.0.0.1",
        port=int(os.environ["WEBHOOK_PORT"]),
        certfile=os.environ["WEBHOOK_CERTIFICATE"],
        pkeyfile=os.environ["WEBHOOK_KEY"],
        cafile=os.environ["WEBHOOK_AUTHORITY"],
    )
    settings.admission.managed = "auto.kopf.dev"


@kopf.on.validate("webapps")  # type: ignore[arg-type]
def check(spec: kopf.Spec, warnings: list[str], **_: Any) -> None:
    if spec.get("image") == "forbidden":
        raise kopf.AdmissionError("this image is forbidden", code=400)
    if spec.get("replicas", 1) > 3:
        warnings.append("that is a lot")


@kopf.on.mutate("webapps")  # type: ignore[arg-type]
def label(patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.labels["judged"] = "yes"


def deployment(name: str, spec: kopf.Spec) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "image": spec["image"], "command": ["sleep", "3600"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": spec["replicas"], "selector": {"matchLabels": labels}, "template": template},
    }


@kopf.on.create("webapps")  # type: ignore[arg-type]
def create(name: str, namespace: str, spec: kopf.Spec, **_: Any) -> dict[str, Any]:
    wanted = deployment(name, spec)
    kopf.adopt(wanted)
    made = client.AppsV1Api().create_namespaced_deployment(namespace, wanted)
    return {"deployment": made.metadata.name}


@kopf.on.field("webapps", field="spec.replicas", old=kopf.PRESENT)  # type: ignore[arg-type]
def scale(name: str, namespace: str, new: int, **_: Any) -> None:
    client.AppsV1Api().patch_namespaced_deployment(name, namespace, {"spec": {"replicas": new}})


@kopf.on.delete("webapps")  # type: ignore[arg-type]
def bye(logger: Any, **_: Any) -> None:
    logger.info("goodbye")
