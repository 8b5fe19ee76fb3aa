"""ValidatingAdmissionWebhook: all are asked at once about the object as it would be stored."""

from __future__ import annotations

import asyncio
from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.webhooks import hooks
from controlplane.objects.kinds import Resource

NAME: Final = "ValidatingAdmissionWebhook"
IS_OF_ALL: Final = True
CONFIGURATIONS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)


async def validate(attributes: Attributes) -> None:
    """Raises the first refusal, in the order of the configurations."""
    wanted = await hooks.configured(attributes, CONFIGURATIONS)
    if not wanted:
        return
    asking = (hooks.ask(attributes, hook, attributes.object) for hook in wanted)
    for answer in await asyncio.gather(*asking, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
