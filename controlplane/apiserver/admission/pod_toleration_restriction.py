"""PodTolerationRestriction (off by default): a namespace's annotations say what its pods tolerate, and what they may.

`scheduler.alpha.kubernetes.io/defaultTolerations` and `.../tolerationsWhitelist` hold JSON lists of tolerations.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import codec
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.webhooks.hooks import namespace_annotations
from controlplane.objects import status
from controlplane.objects.kinds import PODS

NAME: Final = "PodTolerationRestriction"
RESOURCES: Final = frozenset({("", "pods")})
IS_OPTIONAL: Final = True
_DEFAULTS: Final = "scheduler.alpha.kubernetes.io/defaultTolerations"
_ALLOWED: Final = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"


def _list(annotations: dict[str, str], name: str) -> list[Object]:
    text = annotations.get(name)
    if not text:
        return []
    try:
        found: list[Object] = codec.decode(text.encode())
    except msgspec.DecodeError as error:
        raise status.internal_error(f"namespace annotation {name}: {error}") from None
    return found


def _key(toleration: Object) -> tuple[str, str]:
    return toleration.get("key", ""), toleration.get("effect", "")


def _contains(wide: Object, narrow: Object) -> bool:
    """Whether whoever has the wide toleration tolerates all that the narrow one does."""
    if wide.get("key", "") not in ("", narrow.get("key", "")) or wide.get("effect", "") not in (
        "",
        narrow.get("effect", ""),
    ):
        return False
    if wide.get("tolerationSeconds") is not None:
        seconds = narrow.get("tolerationSeconds")
        if seconds is None or seconds > wide["tolerationSeconds"]:
            return False
    if wide.get("operator") == "Exists":
        return True
    return bool(narrow.get("operator", "Equal") != "Exists" and wide.get("value", "") == narrow.get("value", ""))


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_creation_of_pod():
        return obj
    defaults = _list(await namespace_annotations(attributes), _DEFAULTS)
    spec: dict[str, Any] = obj.get("spec") or {}
    given: list[Object] = list(spec.get("tolerations") or ())
    for default in defaults:
        same = [each for each in given if _key(each) == _key(default)]
        if any(each != default for each in same):
            raise status.forbidden(PODS, attributes.name, "namespace tolerations and pod tolerations conflict")
    added = [each for each in defaults if each not in given]
    return {**obj, "spec": {**spec, "tolerations": given + added}} if added else obj


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource:
        return
    allowed = _list(await namespace_annotations(attributes), _ALLOWED)
    if not allowed:
        return
    for toleration in (attributes.object.get("spec") or {}).get("tolerations") or ():
        if not any(_contains(each, toleration) for each in allowed):
            why = "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
            raise status.forbidden(PODS, attributes.name, why)
