"""`pilothouse kv member`: one member in the foreground, with etcd's flags and ETCD_* environment variables.

Flags of etcd that do not apply here are taken and named in one warning, so that a unit file made for etcd starts.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

import click

from kvstore.member.config import MemberConfig
from kvstore.server import ServerOptions, run
from kvstore.storage.data_dir import DataDirectoryInUse, WrongDataDirectory
from kvstore.storage.raft_log import CorruptLog

__all__ = ["member"]

_OWN_FLAGS = {
    "name": "name of this member",
    "data-dir": "directory of the data",
    "listen-client-urls": "where clients are served",
    "advertise-client-urls": "where clients are told to connect",
    "listen-peer-urls": "where the other members are served",
    "initial-advertise-peer-urls": "where the other members are told to connect",
    "initial-cluster": "NAME=PEER-URL of every first member, separated by commas",
    "initial-cluster-state": "new or existing",
    "initial-cluster-token": "makes ids differ between clusters with equal URLs",
    "heartbeat-interval": "milliseconds",
    "election-timeout": "milliseconds",
    "snapshot-count": "applied entries between compactions of the log",
    "backend-batch-interval": "milliseconds between commits of the state",
    "backend-batch-limit": "applied entries between commits of the state",
    "quota-backend-bytes": "writes are refused when the data needs more; 0: 2 GiB",
    "max-request-bytes": "largest request",
    "max-txn-ops": "most operations in a transaction",
    "max-concurrent-streams": "most streams of one connection",
    "cert-file": "certificate shown to clients (PEM)",
    "key-file": "its key (PEM)",
    "trusted-ca-file": "authority that signs clients' certificates (PEM)",
    "client-cert-auth": "refuse clients without a certificate",
    "peer-cert-file": "certificate shown to members (PEM)",
    "peer-key-file": "its key (PEM)",
    "peer-trusted-ca-file": "authority that signs members' certificates (PEM)",
    "peer-client-cert-auth": "refuse members without a certificate",
}
_SERVER_FLAGS = {
    "listen-metrics-urls": "more addresses for /metrics and /health",
    "watch-progress-notify-interval": "as in 10m, 5s, 100ms",
    "auth-token": "simple, or jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=5m",
    "auth-token-ttl": "seconds that an unused simple token lives",
    "bcrypt-cost": "work that a password's hash costs, as a power of two",
    "log-level": "debug, info, warn or error",
}
_BOOLEANS = {"client-cert-auth", "peer-client-cert-auth"}
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
    for flag, text in reversed((_OWN_FLAGS | _SERVER_FLAGS).items()):
        extra: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if flag in _BOOLEANS else {}
        variable = "ETCD_" + flag.replace("-", "_").upper()
        command = click.option(f"--{flag}", flag.replace("-", "_"), help=text, envvar=variable, **extra)(command)
    return command


def _duration(text: str) -> float:
    """Parse one number with one of Go's units."""
    for unit in ("ms", "s", "m", "h"):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return float(number) * _UNIT_SECONDS[unit]
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
    flags = {name.replace("_", "-"): text for name, text in given.items() if text is not None}
    logging.basicConfig(
        level=_LOG_LEVELS.get(flags.pop("log-level", "info"), "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    ignored = [argument for argument in context.args if argument.startswith("-")]
    if ignored:
        logger.warning("flags without effect here: %s", " ".join(ignored))
    metrics_urls = tuple(url for url in flags.pop("listen-metrics-urls", "").split(",") if url)
    interval = _duration(flags.pop("watch-progress-notify-interval", "10m"))
    try:
        options = ServerOptions(
            listen_metrics_urls=metrics_urls,
            watch_progress_notify_interval_seconds=interval,
            auth_token=flags.pop("auth-token", "simple"),
            auth_token_ttl_seconds=float(flags.pop("auth-token-ttl", "300")),
            bcrypt_cost=int(flags.pop("bcrypt-cost", "10")),
        )
        config = _config(flags)
        _loop_runner()(_main(config, options))
    except (DataDirectoryInUse, WrongDataDirectory, CorruptLog, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


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
