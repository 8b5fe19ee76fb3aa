"""`pilothouse apiserver`: the API server alone, in the foreground, with kube-apiserver's flag names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

from controlplane.apiserver import access_flags
from controlplane.apiserver.access_flags import Words
from controlplane.apiserver.config import ApiServerConfig
from controlplane.apiserver.runner import run
from controlplane.machinery.command import Duration, run_until_signalled

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class PortRange(click.ParamType[tuple[int, int]]):
    """Two ports with a hyphen, both included."""

    name = "ports"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d+)-(\d+)", str(value))
        if found is None or int(found[1]) > int(found[2]) or int(found[2]) > 65535:
            self.fail(f"{value!r} is not a range of ports such as 30000-32767", param, ctx)
        return int(found[1]), int(found[2])


_OPTIONS: Final = (
    click.option("--bind-address", default="127.0.0.1", show_default=True, help="The address to listen on."),
    click.option(
        "--advertise-address", default="", help="What default/kubernetes points to.  [default: --bind-address]"
    ),
    click.option("--secure-port", type=click.IntRange(0, 65535), default=6443, show_default=True),
    click.option(
        "--etcd-servers",
        "--etcd-endpoints",
        "etcd_servers",
        type=Words(),
        default="127.0.0.1:2379",
        show_default=True,
        help="The store: any etcd v3 cluster, addresses with commas.",
    ),
    click.option("--etcd-cafile", type=_FILE),
    click.option("--etcd-certfile", type=_FILE),
    click.option("--etcd-keyfile", type=_FILE),
    click.option("--encryption-provider-config", type=_FILE, help="EncryptionConfiguration: what is sealed, and how."),
    click.option(
        "--encryption-provider-config-automatic-reload/--no-encryption-provider-config-automatic-reload",
        default=True,
        show_default=True,
        help="Read it again when it changes.",
    ),
    click.option("--etcd-compaction-interval", type=Duration(), default="5m0s", show_default=True, help="0: never."),
    click.option("--tls-cert-file", type=_FILE, required=True),
    click.option("--tls-private-key-file", type=_FILE, required=True),
    click.option("--client-ca-file", type=_FILE, help="Who signs client certificates."),
    click.option(
        "--service-account-issuer", default=ApiServerConfig.__dataclass_fields__["service_account_issuer"].default
    ),
    click.option("--service-account-key-file", type=_FILE, multiple=True, help="Keys that verify tokens; repeatable."),
    click.option("--service-account-signing-key-file", type=_FILE, help="The key that signs tokens."),
    click.option("--service-account-max-token-expiration", type=Duration(), default="0", help="0: no limit."),
    click.option("--api-audiences", type=Words(), default="", help="What tokens are meant for.  [default: the issuer]"),
    click.option("--service-cluster-ip-range", default="127.0.128.0/18", show_default=True),
    click.option("--service-node-port-range", type=PortRange(), default="30000-32767", show_default=True),
    click.option("--kubelet-client-certificate", type=_FILE),
    click.option("--kubelet-client-key", type=_FILE),
    click.option("--kubelet-certificate-authority", type=_FILE),
    click.option("--kubelet-port", type=click.IntRange(1, 65535), default=10250, show_default=True),
    click.option("--proxy-client-cert-file", type=_FILE, help="Who this server is for aggregated API servers."),
    click.option("--proxy-client-key-file", type=_FILE),
    click.option("--default-not-ready-toleration-seconds", type=int, default=300, show_default=True),
    click.option("--default-unreachable-toleration-seconds", type=int, default=300, show_default=True),
    click.option("--enable-admission-plugins", type=Words(), default="", help="Besides those on by default; commas."),
    click.option("--disable-admission-plugins", type=Words(), default="", help="Of those on by default; commas."),
    click.option("--admission-control-config-file", type=_FILE, help="AdmissionConfiguration: settings of plugins."),
    click.option(
        "--enable-priority-and-fairness/--no-enable-priority-and-fairness",
        default=True,
        show_default=True,
        help="Queue requests by FlowSchemas; without it those over the limits are refused.",
    ),
    click.option("--max-requests-inflight", type=click.IntRange(1), default=400, show_default=True),
    click.option("--max-mutating-requests-inflight", type=click.IntRange(1), default=200, show_default=True),
    click.option("--request-timeout", type=Duration(), default="1m0s", show_default=True),
    click.option("--audit-policy-file", type=_FILE, help="What is audited; nothing without it."),
    click.option("--audit-log-path", default="", help="Where audit events go; -: standard output."),
    click.option("--audit-log-maxage", type=click.IntRange(0), default=0, help="Days that rotated files stay; 0: all."),
    click.option("--audit-log-maxbackup", type=click.IntRange(0), default=0, help="Rotated files that stay; 0: all."),
    click.option("--audit-log-maxsize", type=click.IntRange(0), default=100, show_default=True, help="MiB of a file."),
    click.option("--audit-webhook-config-file", type=_FILE, help="A kubeconfig: what audit events are sent to."),
    click.option("--audit-webhook-mode", type=click.Choice(("batch",)), default="batch", show_default=True),
    click.option("--audit-webhook-batch-max-size", type=click.IntRange(1), default=400, show_default=True),
    click.option("--audit-webhook-batch-max-wait", type=Duration(), default="30s", show_default=True),
    click.option("--audit-webhook-batch-buffer-size", type=click.IntRange(1), default=10000, show_default=True),
    click.option("--event-ttl", type=Duration(), default="1h0m0s", show_default=True),
    click.option(
        "--min-request-timeout", type=int, default=1800, show_default=True, help="Seconds that a watch lives."
    ),
    click.option(
        "--shutdown-grace-period",
        "shutdown_grace",
        type=Duration(),
        default="5s",
        show_default=True,
        help="How long requests in flight may go on.",
    ),
    click.option("-v", "--v", "verbosity", type=int, default=0, help="0: information; 4 and more: debugging."),
)


def _with_options(function: Any) -> Any:
    for option in reversed((*_OPTIONS, *access_flags.OPTIONS)):
        function = option(function)
    return function


def config_from(flags: dict[str, Any]) -> ApiServerConfig:
    """The configuration that parsed flags mean."""
    flags.pop("audit_webhook_mode")  # the only one there is
    renamed = {
        **access_flags.fields(flags),
        "etcd_compaction_interval_seconds": flags.pop("etcd_compaction_interval"),
        "service_account_key_files": tuple(flags.pop("service_account_key_file")),
        "service_account_max_token_expiration_seconds": int(flags.pop("service_account_max_token_expiration")),
        "request_timeout_seconds": flags.pop("request_timeout"),
        "audit_log_maxage_days": flags.pop("audit_log_maxage"),
        "audit_log_maxsize_mebibytes": flags.pop("audit_log_maxsize"),
        "audit_webhook_batch_max_wait_seconds": flags.pop("audit_webhook_batch_max_wait"),
        "event_ttl_seconds": int(flags.pop("event_ttl")),
        "min_request_timeout_seconds": flags.pop("min_request_timeout"),
        "shutdown_grace_seconds": flags.pop("shutdown_grace"),
    }
    return ApiServerConfig(**flags, **renamed)


@click.command()
@_with_options
def apiserver(verbosity: int, **flags: Any) -> None:
    """Serve Kubernetes' API until SIGTERM."""
    try:
        config = config_from(flags)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    run_until_signalled("controlplane.apiserver", verbosity, lambda stop, ready: run(config, stop=stop, ready=ready))
