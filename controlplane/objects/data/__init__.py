"""Package data made at build by generate.py from kubernetes-validate and lightkube-models.

`section(name)` reads one section of the data file: "kinds", "descriptions" or "wire" (see generate.py).
"""

import zlib
from pathlib import Path
from typing import Any

import msgspec

_FILE = Path(__file__).with_name("kubernetes.zlib")


class DataMissing(RuntimeError):
    """The package was installed without its build step."""


def section(name: str) -> Any:
    """One section as JSON values, read and decoded anew: callers keep what they need."""
    try:
        raw = _FILE.read_bytes()
    except FileNotFoundError:
        raise DataMissing(
            f"{_FILE} is missing: run `python -m controlplane.objects.data.generate` in the source tree"
        ) from None
    line, _, body = raw.partition(b"\n")
    start = 0
    for other, length in msgspec.json.decode(line)["sections"].items():
        if other == name:
            return msgspec.json.decode(zlib.decompress(body[start : start + length]))
        start += length
    raise KeyError(name)
