"""What an image name means on a node that runs processes: a local mapping from names to programs.  Pure but for `load`.

The file is YAML, one entry an image (with or without a tag; the one with the tag wins):

    redis:                                  # any tag
      command: [redis-server]
      args: [--port, "6379"]
      env: {LANG: C}
      workingDir: /srv
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from controlplane.kubelet.runtimes.port import StartFailed


@dataclass(frozen=True, slots=True)
class Program:
    """What an image runs: its entry point, default arguments, variables and directory."""

    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""


@dataclass(frozen=True, slots=True)
class ImageMap:
    """Programs by image name."""

    programs: Mapping[str, Program] = field(default_factory=dict)

    def resolve(self, image: str, command: Sequence[str], args: Sequence[str]) -> Program:
        """The program for a container: its own command wins, then the mapping. StartFailed(ErrImagePull) otherwise."""
        mapped = self._find(image)
        if command:
            return Program(
                tuple(command), tuple(args), *((mapped.environment, mapped.working_directory) if mapped else ())
            )
        if mapped is None:
            raise StartFailed("ErrImagePull", no_mapping(image))
        return Program(mapped.command, tuple(args) or mapped.args, mapped.environment, mapped.working_directory)

    def _find(self, image: str) -> Program | None:
        short = short_name(image)
        for name in (image, short, _without_tag(image), _without_tag(short)):
            if name in self.programs:
                return self.programs[name]
        return None


def no_mapping(image: str) -> str:
    """What to do about an image that this node knows nothing of."""
    return (
        f'this node runs processes, it pulls no images, and no program is mapped to "{image}": give the container a '
        f"`command`, or map the image in the file of the kubelet's --image-map, for example "
        f"`{_without_tag(short_name(image))}: {{command: [PROGRAM, ARGUMENT]}}`"
    )


def short_name(image: str) -> str:
    """Without the registry's default host and library: docker.io/library/redis:7 -> redis:7; without a digest."""
    name = image.partition("@")[0]
    for prefix in ("index.docker.io/", "docker.io/", "library/"):
        name = name.removeprefix(prefix)
    return name


def _without_tag(image: str) -> str:
    head, slash, last = image.rpartition("/")
    return head + slash + last.partition(":")[0]


def load(path: Path) -> ImageMap:
    """Read a mapping file. ValueError names the file and the entry that is wrong; OSError when it cannot be read."""
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if document is None:
        return ImageMap()
    if not isinstance(document, dict):
        raise ValueError(f"{path}: a mapping of image names to programs is expected")
    return ImageMap({str(name): _program(path, str(name), entry) for name, entry in document.items()})


def _program(path: Path, name: str, entry: Any) -> Program:
    if isinstance(entry, list):
        entry = {"command": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("command"), list) or not entry["command"]:
        raise ValueError(f"{path}: {name}: an entry needs a `command`, a list of strings")
    unknown = set(entry) - {"command", "args", "env", "workingDir"}
    if unknown:
        raise ValueError(f"{path}: {name}: unknown fields {', '.join(sorted(unknown))}")
    return Program(
        tuple(str(word) for word in entry["command"]),
        tuple(str(word) for word in entry.get("args") or ()),
        {str(key): str(value) for key, value in (entry.get("env") or {}).items()},
        str(entry.get("workingDir") or ""),
    )
