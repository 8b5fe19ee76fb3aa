"""Certificates and kubeconfigs, made at the first start and kept.

One authority signs the API servers, the kubelets and every client; another one, in `pki/etcd/`, the members of the store and
who may speak with them. Keys are EC P-256; service account tokens are signed with a
key of their own. The clock and the serial numbers come from the launcher, the one room that may read them.
"""

import base64
import datetime
import ipaddress
import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.launcher.plan import LOOPBACK, Plan
from controlplane.launcher.state import DataDirectory

AUTHORITY_YEARS = 10
CERTIFICATE_YEARS = 2
RENEW_BEFORE_DAYS = 90
ENVIRONMENT_FILE = "etcdctl.env"
ENCRYPTION_FILE = "encryption.yaml"
ENCRYPTION_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate to be made: file name, common name, organisations (groups), and names or addresses for servers."""

    file: str
    common_name: str
    organizations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


COMPONENTS = (
    Identity("admin", "kubernetes-admin", ("system:masters",)),
    Identity("kube-scheduler", "system:kube-scheduler"),
    Identity("kube-controller-manager", "system:kube-controller-manager"),
    Identity("cloud-controller-manager", "system:cloud-controller-manager"),
    Identity("kube-proxy", "system:kube-proxy"),
    Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client"),
)

# Who the API servers are for aggregated ones: an authority of its own, which is believed about users' names and nothing else.
FRONT_PROXY_AUTHORITY = "front-proxy-ca"
FRONT_PROXY = Identity("front-proxy-client", "front-proxy-client")


def identities(plan: Plan) -> Iterable[Identity]:
    """Yield every certificate that a cluster needs."""
    names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    )
    yield Identity("apiserver", "kube-apiserver", (), (*names, LOOPBACK, plan.kubernetes_service))
    yield from COMPONENTS
    for index in range(plan.nodes):
        yield node_identity(f"node-{index}", plan.node_address(index))
    if plan.simulated_nodes:
        yield Identity("simulated-nodes", "pilothouse:simulated-nodes", ("pilothouse:simulated-nodes",))


def node_identity(name: str, address: str) -> Identity:
    return Identity(name, f"system:node:{name}", ("system:nodes",), (name, address))


# Of the store's authority. An administrator's etcdctl uses `admin`.
STORE_PARTIES = (
    Identity("member", "pilothouse-store", (), ("localhost", LOOPBACK)),
    Identity("apiserver", "kube-apiserver-etcd-client"),
    Identity("admin", "pilothouse-store-admin"),
)


class Authority:
    """A certificate authority in `NAME.crt` and `NAME.key` of a folder."""

    def __init__(self, folder: Path, name: str = "ca", common_name: str = "") -> None:
        self.common_name = common_name or f"pilothouse-{name}"
        self.folder = folder
        self.name = name
        self.now = datetime.datetime.now(datetime.UTC)
        self.key = load_or_make_key(folder / f"{name}.key")
        path = folder / f"{name}.crt"
        if path.exists():
            self.certificate = x509.load_pem_x509_certificate(path.read_bytes())
        else:
            self.certificate = self.self_signed()
            write(path, self.certificate.public_bytes(serialization.Encoding.PEM))

    def self_signed(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = self.builder(name, name, self.key.public_key(), AUTHORITY_YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        return builder.sign(self.key, hashes.SHA256())

    def builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, years: int
    ) -> x509.CertificateBuilder:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - datetime.timedelta(minutes=5))
            .not_valid_after(self.now + datetime.timedelta(days=365 * years))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(identifier, critical=False)
        )

    def ensure(self, identity: Identity) -> None:
        """Write `FILE.crt` and `FILE.key` unless a certificate of the same names is there and far from its end."""
        path = self.folder / f"{identity.file}.crt"
        if path.exists() and self.still_good(x509.load_pem_x509_certificate(path.read_bytes()), identity):
            return
        key = load_or_make_key(self.folder / f"{identity.file}.key")
        builder = self.builder(subject(identity), self.certificate.subject, key.public_key(), CERTIFICATE_YEARS)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if identity.hosts else [])]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if identity.hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([general_name(host) for host in identity.hosts]), critical=False
            )
        write(path, builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def still_good(self, certificate: x509.Certificate, identity: Identity) -> bool:
        if certificate.not_valid_after_utc - self.now < datetime.timedelta(days=RENEW_BEFORE_DAYS):
            return False
        if certificate.issuer != self.certificate.subject or certificate.subject != subject(identity):
            return False
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return not identity.hosts
        return set(names) == {general_name(host) for host in identity.hosts}


def subject(identity: Identity) -> x509.Name:
    """Groups, then the user's name, as Kubernetes reads them."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in identity.organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)])


def general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def load_or_make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write(path, text)
    return key


def write(path: Path, content: bytes) -> None:
    """Replace a file at once; only its owner may read it."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def kubeconfig(server: str, folder: Path, identity: Identity) -> str:
    """Return a kubeconfig (JSON is YAML) with everything inside, so that one file can be carried to another machine."""

    def inline(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    user = {
        "client-certificate-data": inline(f"{identity.file}.crt"),
        "client-key-data": inline(f"{identity.file}.key"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pilothouse",
        "clusters": [
            {"name": "pilothouse", "cluster": {"server": server, "certificate-authority-data": inline("ca.crt")}}
        ],
        "users": [{"name": identity.common_name, "user": user}],
        "contexts": [{"name": "pilothouse", "context": {"cluster": "pilothouse", "user": identity.common_name}}],
    }
    return json.dumps(document, indent=2)


def encryption_configuration(secret: bytes) -> str:
    """Return what the API servers seal in the store, Secrets, and with which key; the identity reads what is older."""
    key = {"name": "key1", "secret": base64.b64encode(secret).decode()}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": [key]}}, {"identity": {}}]}],
    }
    return json.dumps(document, indent=2)


def ensure_store_pki(folder: Path, plan: Plan) -> None:
    """Make what the store's members and clients show each other, and the environment in which etcdctl finds it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    authority = Authority(folder, common_name="pilothouse-store-ca")
    for identity in STORE_PARTIES:
        authority.ensure(identity)
    environment = {
        "ETCDCTL_API": "3",
        "ETCDCTL_ENDPOINTS": ",".join(plan.store_endpoints),
        "ETCDCTL_CACERT": folder / "ca.crt",
        "ETCDCTL_CERT": folder / "admin.crt",
        "ETCDCTL_KEY": folder / "admin.key",
    }
    lines = [f"export {name}={shlex.quote(str(value))}\n" for name, value in environment.items()]
    write(folder / ENVIRONMENT_FILE, "".join(lines).encode())


def ensure_pki(directory: DataDirectory, plan: Plan) -> None:
    """Make what is missing in `pki/` and `kubeconfig/`; what is there and good stays."""
    folder = directory.pki
    authority = Authority(folder)
    key = load_or_make_key(folder / "sa.key")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write(folder / "sa.pub", public)
    if not (folder / ENCRYPTION_FILE).exists():
        write(folder / ENCRYPTION_FILE, encryption_configuration(os.urandom(ENCRYPTION_KEY_BYTES)).encode())
    Authority(folder, FRONT_PROXY_AUTHORITY).ensure(FRONT_PROXY)
    if plan.store_tls and not plan.etcd_endpoints:
        ensure_store_pki(folder / "etcd", plan)
    for identity in identities(plan):
        authority.ensure(identity)
        if identity.file == "apiserver":
            continue
        write(directory.kubeconfig(identity.file), kubeconfig(plan.server, folder, identity).encode())
    for index in range(plan.masters):
        for identity in COMPONENTS:
            if identity.file.startswith("kube-") or identity.file.startswith("cloud-"):
                own = f"https://{LOOPBACK}:{plan.master_port(index)}"
                write(
                    directory.kubeconfig(f"master-{index}-{identity.file}"), kubeconfig(own, folder, identity).encode()
                )
