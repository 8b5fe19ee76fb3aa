"""kube-apiserver's flags of authentication and authorization."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from controlplane.apiserver.authz.authorizer import MODES
from controlplane.machinery.command import Duration

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class Words(click.ParamType[tuple[str, ...]]):
    """Several values with commas."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(each.strip() for each in str(value).split(",") if each.strip())


OPTIONS: Final = (
    click.option(
        "--authorization-mode",
        type=Words(),
        default="Node,RBAC",
        show_default=True,
        help=f"In the order in which they are asked: {', '.join(MODES)}.",
    ),
    click.option("--authorization-webhook-config-file", type=_FILE, help="Kubeconfig of who answers for Webhook."),
    click.option("--authorization-webhook-version", type=click.Choice(["v1", "v1beta1"]), default="v1"),
    click.option("--authorization-webhook-cache-authorized-ttl", type=Duration(), default="5m0s", show_default=True),
    click.option("--authorization-webhook-cache-unauthorized-ttl", type=Duration(), default="30s", show_default=True),
    click.option("--authentication-token-webhook-config-file", type=_FILE, help="Kubeconfig of who knows tokens."),
    click.option("--authentication-token-webhook-version", type=click.Choice(["v1", "v1beta1"]), default="v1"),
    click.option("--authentication-token-webhook-cache-ttl", type=Duration(), default="2m0s", show_default=True),
    click.option("--token-auth-file", type=_FILE, help='CSV: token,user,uid,"group1,group2".'),
    click.option(
        "--enable-bootstrap-token-auth/--no-enable-bootstrap-token-auth",
        default=True,
        show_default=True,
        help="Secrets of type bootstrap.kubernetes.io/token in kube-system let machines join.",
    ),
    click.option(
        "--anonymous-auth",
        type=bool,
        default=True,
        show_default=True,
        help="Nobody in particular may ask for health and version (never for more).",
    ),
    click.option("--requestheader-client-ca-file", type=_FILE, help="Who signs the proxy that says X-Remote-User."),
    click.option("--requestheader-allowed-names", type=Words(), default="", help="Empty: all of that authority."),
    click.option("--requestheader-username-headers", type=Words(), default="X-Remote-User", show_default=True),
    click.option("--requestheader-group-headers", type=Words(), default="X-Remote-Group", show_default=True),
    click.option("--requestheader-uid-headers", type=Words(), default=""),
    click.option("--requestheader-extra-headers-prefix", type=Words(), default="X-Remote-Extra-", show_default=True),
    click.option("--oidc-issuer-url", default="", help="https address of an OpenID Connect issuer."),
    click.option("--oidc-client-id", default="", help="What its tokens must be meant for."),
    click.option("--oidc-ca-file", type=_FILE, help="Who signs the issuer's server.  [default: the system's]"),
    click.option("--oidc-username-claim", default="sub", show_default=True),
    click.option("--oidc-username-prefix", default="", help="'-': none.  [default: ISSUER#, none for email]"),
    click.option("--oidc-groups-claim", default=""),
    click.option("--oidc-groups-prefix", default=""),
    click.option("--oidc-required-claim", multiple=True, metavar="NAME=VALUE", help="Repeatable."),
    click.option("--oidc-signing-algs", type=Words(), default="RS256", show_default=True),
)


def fields(flags: dict[str, Any]) -> dict[str, Any]:
    """Take those flags out of `flags` whose fields have other names, as the configuration has them. ValueError for a
    required claim that is no pair."""
    claims = []
    for text in flags.pop("oidc_required_claim"):
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"--oidc-required-claim {text}: not NAME=VALUE")
        claims.append((name, value))
    authorized, unauthorized = (
        flags.pop(f"authorization_webhook_cache_{which}_ttl") for which in ("authorized", "unauthorized")
    )
    return {
        "oidc_required_claims": tuple(claims),
        "authorization_webhook_authorized_ttl_seconds": authorized,
        "authorization_webhook_unauthorized_ttl_seconds": unauthorized,
        "authentication_token_webhook_cache_ttl_seconds": flags.pop("authentication_token_webhook_cache_ttl"),
    }
