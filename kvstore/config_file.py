"""etcd's configuration file (YAML; JSON is YAML too) as flags. Where one is given it is all that counts: other flags and
ETCD_* variables are not looked at, as in etcd.

    flags = read_config_file(Path("etcd.conf.yml"))     {"name": "one", "data-dir": ..., "peer-cert-file": ...}
"""

from pathlib import Path

__all__ = ["read_config_file"]

# sections and the beginning of the flags that stand in them
_SECTIONS = {"client-transport-security": "", "peer-transport-security": "peer-"}


def read_config_file(path: Path) -> dict[str, str]:
    """Return the flags of a file, by name without dashes in front. Raises ValueError for what is no such file, OSError."""
    import yaml  # here: a member without such a file starts without it

    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no settings: `name: value` lines are needed")
    flags: dict[str, str] = {}
    for name, value in found.items():
        if name in _SECTIONS:
            flags |= _section(path, str(name), value)
        elif value is not None:
            flags[str(name)] = _text(path, str(name), value)
    return flags


def _section(path: Path, name: str, settings: object) -> dict[str, str]:
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: {name} holds no settings")
    return {
        _SECTIONS[name] + str(key): _text(path, f"{name}.{key}", value)
        for key, value in settings.items()
        if value is not None and value != ""
    }


def _text(path: Path, name: str, value: object) -> str:
    """Return a value as its flag would be written; a list is joined by commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_text(path, name, one) for one in value)
    if isinstance(value, dict):
        raise ValueError(f"{path}: {name} must be one value")
    return str(value)
