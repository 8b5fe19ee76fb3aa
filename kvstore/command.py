"""`pilothouse kv member`: one member in the foreground, with etcd's flags and ETCD_* environment variables.

Flags of etcd that do not apply here are taken and named in one warning, so that a unit file made for etcd starts (flags.py).
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from kvstore import compiled
from kvstore.api import CorruptionOptions, VisitorRules, parse_retention
from kvstore.config_file import read_config_file
from kvstore.flags import ALIASES, BOOLEANS, OWN_FLAGS, REFUSED_FLAGS, SERVER_BOOLEANS, SERVER_FLAGS, WITHOUT_EFFECT
from kvstore.member.config import MemberConfig
from kvstore.server import ServerOptions, run
from kvstore.storage.data_dir import DataDirectoryInUse, MemberRemoved, WrongDataDirectory
from kvstore.storage.raft_log import CorruptLog
from kvstore.tls import AllowedNames, AutoTls, TlsLimits

__all__ = ["member"]

_DEFAULT_QUOTA_BYTES = 2 << 30
_NO_QUOTA_BYTES = 1 << 62
_LOG_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "error": "ERROR",
    "panic": "CRITICAL",
    "fatal": "CRITICAL",
}
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

# Requests make and drop many objects and few cycles: look for those rarely, so that no answer waits for it
GC_YOUNG_OBJECTS, GC_MIDDLE_ROUNDS, GC_OLD_ROUNDS = 50_000, 50, 50

logger = logging.getLogger("kvstore.command")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for flag, text in reversed((OWN_FLAGS | SERVER_FLAGS).items()):
        is_boolean = flag in BOOLEANS or flag in SERVER_BOOLEANS
        extra: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if is_boolean else {}
        variable = "ETCD_" + flag.replace("-", "_").upper()
        command = click.option(f"--{flag}", flag.replace("-", "_"), help=text, envvar=variable, **extra)(command)
    return command


def _duration(text: str) -> float:
    """Parse one number with one of Go's units."""
    for unit in ("ms", "s", "m", "h"):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return float(number) * _UNIT_SECONDS[unit]
    if text == "0":
        return 0.0
    raise click.BadParameter(f"{text!r} is not a duration such as 10m, 5s or 100ms")


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "show_default": False},
    help="Run one member of the store in the foreground, with etcd's flags (--flag=value or --flag value)"
    " or ETCD_* variables.",
)
@_options
@click.pass_context
def member(context: click.Context, /, **given: str | None) -> None:
    """Run one member until SIGTERM or SIGINT."""
    flags, ignored = _given(context.args, {name.replace("_", "-"): text for name, text in given.items() if text is not None})
    logging.basicConfig(
        level=_LOG_LEVELS.get(flags.pop("log-level", "info"), "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logger.info("the store is %s", compiled.build())
    if ignored:
        logger.warning("flags without effect here: %s", ", ".join(ignored))
    metrics_urls = tuple(url for url in flags.pop("listen-metrics-urls", "").split(",") if url)
    interval = _duration(flags.pop("watch-progress-notify-interval", "10m"))
    try:
        options = ServerOptions(
            listen_metrics_urls=metrics_urls,
            watch_progress_notify_interval_seconds=interval,
            lease_checkpoint_interval_seconds=_lease_checkpoints(flags),
            auth_token=flags.pop("auth-token", "simple"),
            auth_token_ttl_seconds=float(flags.pop("auth-token-ttl", "300")),
            bcrypt_cost=int(flags.pop("bcrypt-cost", "10")),
            retention=parse_retention(
                flags.pop("auto-compaction-mode", "periodic"), flags.pop("auto-compaction-retention", "0")
            ),
            corruption=_corruption(flags),
            visitors=VisitorRules(_names(flags.pop("cors", "*")), _names(flags.pop("host-whitelist", "*"))),
            tls=_tls(flags),
            notes_crashes=True,
        )
        config = _config(flags)
        _loop_runner()(_main(config, options))
    except (DataDirectoryInUse, MemberRemoved, WrongDataDirectory, CorruptLog, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _names(text: str) -> frozenset[str]:
    return frozenset(_listed(text))


def _tls(flags: dict[str, str]) -> TlsLimits:
    common_names, hosts = (_listed(flags.pop(f"peer-cert-allowed-{what}", "")) for what in ("cn", "hostname"))
    if common_names and hosts:
        raise ValueError(
            "AllowedCN and AllowedHostname are mutually exclusive "
            f"(cn={','.join(common_names)!r}, hostname={','.join(hosts)!r})"
        )
    return TlsLimits(
        flags.pop("tls-min-version", ""),
        _listed(flags.pop("cipher-suites", "")),
        flags.pop("client-crl-file", ""),
        flags.pop("peer-crl-file", ""),
        AllowedNames(hosts=_listed(flags.pop("client-cert-allowed-hostname", ""))),
        AllowedNames(common_names, hosts),
        AutoTls(
            _is_true(flags.pop("auto-tls", "")),
            _is_true(flags.pop("peer-auto-tls", "")),
            int(flags.pop("self-signed-cert-validity", "1")),
        ),
    )


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "1")


def _lease_checkpoints(flags: dict[str, str]) -> float:
    interval = _duration(flags.pop("lease-checkpoint-interval", "5m"))
    return interval if flags.pop("enable-lease-checkpoint", "true").lower() in ("true", "1") else 0.0


def _corruption(flags: dict[str, str]) -> CorruptionOptions:
    """Read the flags of both names: etcd dropped `experimental-` with 3.6, and made a feature gate of one."""
    interval = flags.pop("experimental-corrupt-check-time", "0s")
    at_start = flags.pop("experimental-initial-corrupt-check", "false")
    gates = flags.pop("feature-gates", "").replace(" ", "").lower().split(",")
    return CorruptionOptions(
        corrupt_check_seconds=_duration(flags.pop("corrupt-check-time", interval)),
        initial_corrupt_check=_is_true(at_start) or "initialcorruptcheck=true" in gates,
    )


def _given(arguments: list[str], flags: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the flags that count, and those that have no effect; refuse those that must have one."""
    unknown, given = _unknown(arguments), flags
    if "config-file" in flags:
        try:
            found = read_config_file(Path(flags["config-file"]))
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error
        flags = {name: text for name, text in found.items() if name in OWN_FLAGS or name in SERVER_FLAGS}
        unknown = {name: text for name, text in found.items() if name not in flags}
    for former, name in ALIASES.items():
        if former in unknown:
            flags.setdefault(name, unknown.pop(former))
    for name, remedy in REFUSED_FLAGS.items():
        if unknown.pop(name, "false").lower() not in ("false", "0", "", "off"):
            raise click.ClickException(f"--{name} is not supported: {remedy}")
    for name in unknown:
        if name not in WITHOUT_EFFECT and "config-file" not in given:
            raise click.ClickException(f"flag provided but not defined: -{name}")
    return flags, [f"--{name} ({WITHOUT_EFFECT.get(name, 'unknown')})" for name in unknown]


def _unknown(arguments: list[str]) -> dict[str, str]:
    """Return the flags that click did not know: `--flag=value`, `--flag value`, or `--flag` alone (true)."""
    unknown: dict[str, str] = {}
    for argument, following in pairwise([*arguments, "-"]):
        if argument.startswith("-"):
            name, separator, text = argument.lstrip("-").partition("=")
            unknown[name] = text if separator else "true" if following.startswith("-") else following
    return unknown


def _config(flags: dict[str, str]) -> MemberConfig:
    """Fill in what etcd derives from other flags, and parse."""
    flags.setdefault("name", "default")
    flags.setdefault("data-dir", f"{flags['name']}.etcd")
    quota = flags.get("quota-backend-bytes", "0")
    if quota.lstrip("-").isdigit() and int(quota) <= 0:  # etcd: 0 is the default, below it there is no quota
        flags["quota-backend-bytes"] = str(_NO_QUOTA_BYTES if int(quota) < 0 else _DEFAULT_QUOTA_BYTES)
    return MemberConfig.from_flags(flags)


def _loop_runner() -> Callable[..., None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


async def _main(config: MemberConfig, options: ServerOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.set_threshold(GC_YOUNG_OBJECTS, GC_MIDDLE_ROUNDS, GC_OLD_ROUNDS)
    await run(config, stop=stop, ready=gc.freeze, options=options)  # what is there by then stays: not worth a look


if __name__ == "__main__":
    member()
