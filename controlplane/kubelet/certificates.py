"""The node's client certificate: the first one asked for with a bootstrap token, each further one with the one before.

    await bootstrap(config, clock, random)      makes the kubeconfig that the node then uses, unless it is there
    await Rotation(...).run()                   asks anew in the last third of a certificate's life, and has the client use it

Both ask with a CertificateSigningRequest (signer `kubernetes.io/kube-apiserver-client-kubelet`), which the controller manager
approves and signs. Certificate and key stand together in `CERT-DIR/kubelet-client-current.pem`, replaced at once.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random
from typing import Any, Final

from controlplane.kubelet.config import KubeletConfig
from controlplane.machinery.backoff import Backoff
from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost
from controlplane.machinery.clock import Clock
from controlplane.machinery.config import ClientConfig
from controlplane.objects import certificates
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS

log = logging.getLogger("controlplane.kubelet")

Object = dict[str, Any]

FILE: Final = "kubelet-client-current.pem"
USAGES: Final = ("digital signature", "client auth")
ANSWER_SECONDS: Final = 900.0  # then another request is made
RENEW_SHARE: Final = (0.7, 0.9)  # of a certificate's life, drawn by chance so that nodes do not ask together
MOST_SLEEP_SECONDS: Final = 3600.0  # a clock may be set meanwhile


class Refused(Exception):
    """The request was denied or failed; the message says why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a node's certificate is to be; without names and addresses it is a client's."""

    node_name: str
    signer: str = certificates.KUBELET_CLIENT
    usages: tuple[str, ...] = USAGES
    dns_names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()


def make_request(ask: Ask) -> tuple[bytes, bytes]:
    """(private key, certificate request) of a node, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, certificates.NODES),
        x509.NameAttribute(NameOID.COMMON_NAME, certificates.NODE_PREFIX + ask.node_name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    hosts = [*map(x509.DNSName, ask.dns_names), *map(x509.IPAddress, ask.addresses)]
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    request = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, request.public_bytes(Encoding.PEM)


async def obtain(client: ApiClient, ask: Ask) -> bytes:
    """A new certificate and its key, PEM. Refused, TimeoutError, ApiError or ConnectionLost when there is none."""
    key, request = make_request(ask)
    made = await client.create(
        CERTIFICATE_SIGNING_REQUESTS,
        {
            "apiVersion": CERTIFICATE_SIGNING_REQUESTS.group_version,
            "kind": CERTIFICATE_SIGNING_REQUESTS.kind,
            "metadata": {"generateName": "csr-"},
            "spec": {
                "request": base64.b64encode(request).decode(),
                "signerName": ask.signer,
                "usages": list(ask.usages),
            },
        },
    )
    async with asyncio.timeout(ANSWER_SECONDS):
        return base64.b64decode(await _answer(client, made["metadata"]["name"])) + key


async def _answer(client: ApiClient, name: str) -> str:
    """`status.certificate` of a request, once it is there."""
    while True:
        async for event in client.watch(
            CERTIFICATE_SIGNING_REQUESTS, field_selector=f"metadata.name={name}", resource_version="0"
        ):
            status: Object = event.object.get("status") or {}
            for condition in status.get("conditions") or ():
                if condition.get("type") in ("Denied", "Failed"):
                    raise Refused(f"{name}: {condition['type']}: {condition.get('message', '')}")
            if status.get("certificate"):
                return str(status["certificate"])
            if event.type == "DELETED":
                raise Refused(f"{name} was deleted")


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def folder_of(config: KubeletConfig) -> Path:
    """Where the node's own certificates are."""
    return Path(config.cert_dir or Path(config.root_dir) / "pki")


def certificate_path(config: KubeletConfig) -> Path:
    """Where the current certificate and its key are."""
    return folder_of(config) / FILE


def _kubeconfig(client: ClientConfig, pem: Path) -> str:
    """The bootstrap file's cluster, with the certificate in place of the token."""
    cluster: Object = {"server": client.server}
    if client.ca_data:
        cluster["certificate-authority-data"] = base64.b64encode(client.ca_data).decode()
    elif client.ca_file:
        cluster["certificate-authority"] = str(Path(client.ca_file).absolute())
    if client.tls_server_name:
        cluster["tls-server-name"] = client.tls_server_name
    user = {"client-certificate": str(pem), "client-key": str(pem)}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "default-cluster", "cluster": cluster}],
            "users": [{"name": "default-auth", "user": user}],
            "contexts": [{"name": "default", "context": {"cluster": "default-cluster", "user": "default-auth"}}],
            "current-context": "default",
        },
        indent=2,
    )


def _is_there(config: KubeletConfig, now: datetime) -> bool:
    """Whether the kubeconfig can be used: it is there, and so long as it has a certificate of ours, that is good."""
    pem = certificate_path(config)
    return Path(config.kubeconfig).exists() and (not pem.exists() or life_of(pem)[1] > now)


async def bootstrap(config: KubeletConfig, clock: Clock, random: Random) -> None:
    """Ask until there is a certificate, then write it and the kubeconfig. Nothing when both are there and good."""
    if _is_there(config, clock.now()):
        return
    target, pem = Path(config.kubeconfig), certificate_path(config).absolute()
    told = ClientConfig.from_kubeconfig(config.bootstrap_kubeconfig)
    client = ApiClient(told)
    backoff = Backoff(random)
    try:
        while True:
            try:
                content = await obtain(client, Ask(config.node_name))
                break
            except (ApiError, ConnectionLost, Refused, TimeoutError) as error:
                log.warning("the certificate of node %s: %s", config.node_name, error or "no answer in time")
            await asyncio.sleep(backoff.next_delay())
    finally:
        await client.close()
    _write(pem, content)
    _write(target, _kubeconfig(told, pem).encode())


def life_of(pem: Path) -> tuple[datetime, datetime]:
    """When the certificate in a file begins and ends."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificates(pem.read_bytes())[0]
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


class Rotation:
    """Keeps the certificate of one client fresh. `changed` is called after each new one."""

    def __init__(
        self, config: KubeletConfig, client: ApiClient, clock: Clock, random: Random, changed: Callable[[], None]
    ) -> None:
        self._path = certificate_path(config)
        self._ask = Ask(config.node_name)
        self._client = client
        self._clock = clock
        self._random = random
        self._changed = changed

    def due_at(self) -> datetime:
        """When to ask for the next certificate."""
        return self._due_of(self._path)

    def _due_of(self, path: Path) -> datetime:
        begin, end = life_of(path)
        return begin + (end - begin) * self._random.uniform(*RENEW_SHARE)

    async def run(self) -> None:
        """For ever; failures are tried again, as long as the certificate that there is lets us ask."""
        backoff = Backoff(self._random)
        due = self.due_at()
        while True:
            left = (due - self._clock.now()).total_seconds()
            if left > 0:
                await asyncio.sleep(min(left, MOST_SLEEP_SECONDS))
                continue
            try:
                _write(self._path, await obtain(self._client, self._ask))
            except (ApiError, ConnectionLost, Refused, TimeoutError) as error:
                log.warning("a new certificate of node %s: %s", self._ask.node_name, error or "no answer in time")
                await asyncio.sleep(backoff.next_delay())
                continue
            backoff.reset()
            self._changed()
            due = self.due_at()
