"""Volumes of a pod as directories on the node.

    volume_plan(...)    PURE: what each volume is made of: a directory, a host path, or files
    write_files(...)    files into a directory, atomically: readers see all old or all new ones (..data is swapped)

Layout of a volume with files, as in Kubernetes, so that programs that watch for ..data work:
    ..2026_11_22_08_00_00.1/key    ..data -> ..2026_11_22_08_00_00.1    key -> ..data/key
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.kubelet.environment import Facts, Lookup, expand, payload, pod_field
from controlplane.kubelet.model import Pod
from controlplane.kubelet.resources import resource_field
from controlplane.kubelet.runtimes.port import Mount, StartFailed

DEFAULT_MODE = 0o644
TOKEN_LIFETIME_SECONDS = 3607  # as upstream's API server sets it in projected volumes


class VolumeError(Exception):
    """A volume cannot be made (yet); the message is for the user."""


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """A service account token to be asked for: where it goes, for whom, for how long."""

    path: str
    audience: str
    lifetime_seconds: int
    mode: int


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume."""

    data: bytes
    mode: int = DEFAULT_MODE


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """What one volume is. `host_path`: it is that path; `files` None: an empty directory; else these files."""

    name: str
    host_path: str = ""
    host_path_type: str = ""
    files: Mapping[str, File] | None = None
    tokens: tuple[TokenWanted, ...] = field(default=())


def volume_references(pod: Pod) -> Iterator[tuple[str, str]]:
    """The ("ConfigMap" | "Secret", name) that the pod's volumes show, and must follow."""
    for volume in pod["spec"].get("volumes") or ():
        for source in _sources(volume):
            if source.get("configMap"):
                yield "ConfigMap", source["configMap"].get("name", "")
            if source.get("secret"):
                yield "Secret", source["secret"].get("secretName") or source["secret"].get("name", "")


def _sources(volume: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if volume.get("projected"):
        return list(volume["projected"].get("sources") or ())
    return [volume]


def volume_plan(pod: Pod, volume: Mapping[str, Any], lookup: Lookup, facts: Facts) -> VolumePlan:
    """See VolumePlan. Raises VolumeError for a missing object or a kind of volume that this node does not have."""
    name = volume["name"]
    if "emptyDir" in volume:
        return VolumePlan(name)
    if volume.get("hostPath"):
        return VolumePlan(name, volume["hostPath"]["path"], volume["hostPath"].get("type") or "")
    if not any(key in volume for key in ("configMap", "secret", "projected", "downwardAPI")):
        kind = next((key for key in volume if key != "name"), "nothing")
        raise VolumeError(f'MountVolume.SetUp failed for volume "{name}": this node has no volumes of type {kind}')
    outer = (
        volume.get("configMap") or volume.get("secret") or volume.get("projected") or volume.get("downwardAPI") or {}
    )
    default_mode = outer.get("defaultMode")
    mode = DEFAULT_MODE if default_mode is None else int(default_mode)
    files: dict[str, File] = {}
    tokens: list[TokenWanted] = []
    for source in _sources(volume):
        if source.get("serviceAccountToken"):
            wanted = source["serviceAccountToken"]
            lifetime = int(wanted.get("expirationSeconds") or TOKEN_LIFETIME_SECONDS)
            tokens.append(TokenWanted(wanted["path"], wanted.get("audience") or "", lifetime, mode))
        try:
            files.update(_source_files(pod, source, lookup, facts, mode))
        except StartFailed as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error.message}') from error
    return VolumePlan(name, files=files, tokens=tuple(tokens))


def _source_files(
    pod: Pod, source: Mapping[str, Any], lookup: Lookup, facts: Facts, mode: int
) -> Iterator[tuple[str, File]]:
    if source.get("downwardAPI"):
        for item in source["downwardAPI"].get("items") or ():
            yield item["path"], File(_downward(pod, item, facts).encode(), _mode(item, mode))
    for kind, key, name_key in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
        chosen = source.get(key)
        if not chosen:
            continue
        name = chosen.get(name_key) or chosen.get("name", "")
        found = lookup.get((kind, name))
        if found is None:
            if chosen.get("optional"):
                continue
            raise StartFailed("", f'{kind.lower()} "{name}" not found')
        data = payload(kind, found)
        items = chosen.get("items")
        if not items:
            yield from ((entry, File(value, mode)) for entry, value in data.items())
            continue
        for item in items:
            if item["key"] in data:
                yield item["path"], File(data[item["key"]], _mode(item, mode))
            elif not chosen.get("optional"):
                raise StartFailed("", f"references non-existent {kind.lower()} key: {item['key']}")


def _mode(item: Mapping[str, Any], default: int) -> int:
    mode = item.get("mode")
    return default if mode is None else int(mode)


def _downward(pod: Pod, item: Mapping[str, Any], facts: Facts) -> str:
    if item.get("resourceFieldRef"):
        return resource_field(pod, {}, item["resourceFieldRef"], facts.allocatable)
    return pod_field(pod, (item.get("fieldRef") or {}).get("fieldPath", ""), facts)


def write_files(directory: Path, files: Mapping[str, File], stamp: str) -> bool:
    """Make `directory` show exactly `files` (relative paths); False when it did already. `stamp` names this version."""
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / "..data"
    current = os.readlink(link) if link.is_symlink() else ""
    if current and _holds(directory / current, files):
        return False
    version = _fresh_name(directory, f"..{stamp}")
    for path, file in files.items():
        place = directory / version / _safe(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.data)
        place.chmod(file.mode)
    (directory / version).mkdir(exist_ok=True)
    fresh = directory / "..data_tmp"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(version)
    os.replace(fresh, link)
    shown = {_safe(path).partition("/")[0] for path in files}
    for name in shown:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in shown:
            entry.unlink()
    if current:
        shutil.rmtree(directory / current, ignore_errors=True)
    return True


def _fresh_name(directory: Path, base: str) -> str:
    number = 1
    while (directory / f"{base}.{number}").exists():
        number += 1
    return f"{base}.{number}"


def _holds(version: Path, files: Mapping[str, File]) -> bool:
    present = {str(p.relative_to(version)): p for p in version.rglob("*") if p.is_file()}
    if set(present) != {_safe(path) for path in files}:
        return False
    return all(present[_safe(path)].read_bytes() == file.data for path, file in files.items())


def _safe(path: str) -> str:
    """A relative path that stays inside; the API has validated it, this is the second lock."""
    clean = os.path.normpath(path)
    if clean.startswith(("/", "..")):
        raise VolumeError(f"path {path!r} leads out of its volume")
    return clean


def prepare_host_path(path: str, kind: str) -> None:
    """Check or make what a hostPath volume promises. VolumeError when it is not so."""
    place = Path(path)
    if kind == "DirectoryOrCreate":
        place.mkdir(parents=True, exist_ok=True, mode=0o755)
    elif kind == "FileOrCreate":
        place.touch(mode=0o644, exist_ok=True)
    checks = {"Directory": place.is_dir, "DirectoryOrCreate": place.is_dir, "File": place.is_file}
    checks.update({"FileOrCreate": place.is_file, "Socket": place.is_socket, "": place.exists})
    check = checks.get(kind)
    if check is not None and not check():
        raise VolumeError(f"hostPath type check failed: {path} is not a {kind or 'file or directory'}")


def _within(volume: Path, sub_path: str) -> Path:
    """A place in a volume, made when it is not there. StartFailed when a link that a pod laid leads out of the volume."""
    place = (volume / _safe(sub_path)).resolve()
    if not place.is_relative_to(volume.resolve()):
        raise StartFailed("CreateContainerConfigError", f'subPath "{sub_path}" leads out of its volume')
    if not place.exists():
        place.mkdir(parents=True, exist_ok=True)
    return place


def mounts_of(container: Mapping[str, Any], places: Mapping[str, Path], expand_path: Mapping[str, str]) -> list[Mount]:
    """The container's volumeMounts over `places` (volume name -> directory or file). StartFailed for an unknown one."""
    result = []
    for mount in container.get("volumeMounts") or ():
        place = places.get(mount["name"])
        if place is None:
            raise StartFailed("CreateContainerConfigError", f'volume "{mount["name"]}" is not part of the pod')
        sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", expand_path)
        if sub_path:
            place = _within(place, sub_path)
        result.append(Mount(str(place), "/" + mount["mountPath"].strip("/"), bool(mount.get("readOnly"))))
    return result
