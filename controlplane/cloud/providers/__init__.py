"""The providers by the name that --cloud-provider gives. Adding one is a file and a line."""

from collections.abc import Callable, Mapping
from typing import Any

from controlplane.cloud.provider import Provider
from controlplane.cloud.providers.local import LocalProvider

PROVIDERS: Mapping[str, Callable[[Mapping[str, Any]], Provider]] = {
    "local": LocalProvider.from_config,
}
