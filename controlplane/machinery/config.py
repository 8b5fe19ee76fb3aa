"""Where the API is and who we are: from a kubeconfig, from PEM files, or from inside a pod."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ClientConfig", "ConfigError"]

USER_AGENT = "pilothouse"
SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """One API server address (often a load balancer's) and the credentials to show it.

    PEM material is a file (read when `ssl_context` is called) or bytes; bytes win. `token_file` is read again about
    once a minute, because projected tokens are rotated under our feet.
    """

    server: str  # "https://127.0.0.1:6443"; a path after the port is kept as a prefix
    ca_file: str = ""
    ca_data: bytes = b""
    certificate_file: str = ""
    certificate_data: bytes = b""
    key_file: str = ""
    key_data: bytes = b""
    token: str = ""
    token_file: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    namespace: str = "default"
    user_agent: str = USER_AGENT

    @classmethod
    def from_files(
        cls, server: str, ca: str | Path = "", cert: str | Path = "", key: str | Path = "", user_agent: str = USER_AGENT
    ) -> ClientConfig:
        """From PEM files: the authority that signed the server, and our certificate and key."""
        return cls(server, ca_file=str(ca), certificate_file=str(cert), key_file=str(key), user_agent=user_agent)

    @classmethod
    def from_kubeconfig(cls, path: str | Path, context: str = "", user_agent: str = USER_AGENT) -> ClientConfig:
        """From a kubeconfig file; `context` defaults to its current one. ConfigError when it is unusable."""
        path = Path(path)
        try:
            document = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"kubeconfig {path}: {error}") from error
        if not isinstance(document, dict):
            raise ConfigError(f"kubeconfig {path}: not a mapping")
        return replace(_from_document(document, context, path), user_agent=user_agent)

    @classmethod
    def in_cluster(cls, folder: str | Path = SERVICE_ACCOUNT_FOLDER) -> ClientConfig:
        """From a pod's environment and its projected service account volume."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            raise ConfigError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: not in a pod?")
        folder = Path(folder)
        host = f"[{host}]" if ":" in host else host
        namespace_file = folder / "namespace"
        return cls(
            f"https://{host}:{port}",
            ca_file=str(folder / "ca.crt"),
            token_file=str(folder / "token"),
            namespace=namespace_file.read_text().strip() if namespace_file.exists() else "default",
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS settings of a connection; None for http. ConfigError when a file cannot be read or parsed."""
        if not self.server.startswith("https://"):
            return None
        context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.insecure_skip_tls_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif self.ca_data:
                context.load_verify_locations(cadata=self.ca_data.decode())
            elif self.ca_file:
                context.load_verify_locations(cafile=self.ca_file)
            else:
                context.load_default_certs()
            self._load_client_certificate(context)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(f"credentials for {self.server}: {error}") from error
        return context

    def _load_client_certificate(self, context: ssl.SSLContext) -> None:
        if self.certificate_data and self.key_data:
            # OpenSSL's bindings read certificate chains from files only: they pass through one that only we can open.
            with tempfile.NamedTemporaryFile() as pem:
                pem.write(self.certificate_data + b"\n" + self.key_data)
                pem.flush()
                context.load_cert_chain(pem.name)
        elif self.certificate_file:
            context.load_cert_chain(self.certificate_file, self.key_file or None)


class ResumingContext(ssl.SSLContext):
    """A client context that offers the last session again: a reconnection costs a tenth of a full handshake."""

    last_session: ssl.SSLSession | None = None

    def remember(self, ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> None:
        """Keep the session of a connection that has read something (TLS 1.3 tickets come after the handshake)."""
        if ssl_object is None or (ssl_object.session_reused and self.last_session is not None):
            return  # copying a session out of OpenSSL is dear, and the one we have still works
        session = ssl_object.session
        if session is not None and session.has_ticket:
            self.last_session = session

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As in `ssl`, with the remembered session where the caller (asyncio, uvloop) has no way to name one."""
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or self.last_session)


def _from_document(document: Mapping[str, Any], context: str, path: Path) -> ClientConfig:
    context = context or document.get("current-context") or ""
    chosen = _named(document, "contexts", context, "context", path)
    cluster = _named(document, "clusters", chosen.get("cluster", ""), "cluster", path)
    user = _named(document, "users", chosen.get("user", ""), "user", path) if chosen.get("user") else {}
    server = cluster.get("server")
    if not server:
        raise ConfigError(f"kubeconfig {path}: cluster {chosen.get('cluster')!r} has no server")

    def file_of(section: Mapping[str, Any], field: str) -> str:
        value = section.get(field)
        return str(path.parent / value) if value else ""

    def data_of(section: Mapping[str, Any], field: str) -> bytes:
        return base64.b64decode(section.get(field) or "")

    return ClientConfig(
        server=str(server),
        ca_file=file_of(cluster, "certificate-authority"),
        ca_data=data_of(cluster, "certificate-authority-data"),
        certificate_file=file_of(user, "client-certificate"),
        certificate_data=data_of(user, "client-certificate-data"),
        key_file=file_of(user, "client-key"),
        key_data=data_of(user, "client-key-data"),
        token=user.get("token") or "",
        token_file=file_of(user, "tokenFile"),
        tls_server_name=cluster.get("tls-server-name") or "",
        insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=chosen.get("namespace") or "default",
    )


def _named(document: Mapping[str, Any], section: str, name: str, inner: str, path: Path) -> Mapping[str, Any]:
    for entry in document.get(section) or ():
        if entry.get("name") == name:
            found = entry.get(inner) or {}
            assert isinstance(found, dict)
            return found
    raise ConfigError(f"kubeconfig {path}: no entry {name!r} in {section}")
