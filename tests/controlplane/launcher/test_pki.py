"""Certificates: made once, kept while good, and good for what TLS asks of them."""

import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from controlplane.apiserver.encryption import parse
from controlplane.launcher.pki import Authority, Identity, ensure_pki
from controlplane.launcher.plan import Plan
from controlplane.launcher.state import DataDirectory


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path)
    made.make()
    ensure_pki(made, Plan(masters=1, nodes=1))
    return made


def test_a_second_start_keeps_every_certificate(directory: DataDirectory) -> None:
    before = {path: path.read_bytes() for path in directory.pki.rglob("*.*")}
    ensure_pki(directory, Plan(masters=1, nodes=1))
    assert {path: path.read_bytes() for path in directory.pki.rglob("*.*")} == before
    assert any(path.parent.name == "etcd" for path in before)


def test_a_server_certificate_is_renewed_when_its_hosts_change(directory: DataDirectory) -> None:
    before = (directory.pki / "apiserver.crt").read_bytes()
    ensure_pki(directory, Plan(masters=1, nodes=1, base_port=7000))
    assert (directory.pki / "apiserver.crt").read_bytes() != before


def test_users_and_groups_stand_in_the_subject(directory: DataDirectory) -> None:
    certificate = x509.load_pem_x509_certificate((directory.pki / "node-0.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=system:node:node-0,O=system:nodes"


def test_keys_are_for_their_owner_alone(directory: DataDirectory) -> None:
    assert {path.stat().st_mode & 0o077 for path in directory.pki.rglob("*.key")} == {0}


def test_the_key_of_the_store_is_for_its_owner_alone_and_kept(directory: DataDirectory) -> None:
    path = directory.pki / "encryption.yaml"
    before = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0 and parse(before).of(b"/registry/secrets/default/a") is not None
    ensure_pki(directory, Plan(masters=1, nodes=1))
    assert path.read_bytes() == before


def test_client_and_server_trust_each_other_through_the_authority(directory: DataDirectory) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory.pki / "apiserver.crt", directory.pki / "apiserver.key")
    server.load_verify_locations(directory.pki / "ca.crt")
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(directory.pki / "ca.crt"))
    client.load_cert_chain(directory.pki / "admin.crt", directory.pki / "admin.key")
    wires = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(wires[0], wires[1], server_side=True),
        client.wrap_bio(wires[1], wires[0], server_hostname="127.0.0.1"),
    ]
    done = [False, False]
    for _ in range(10):
        for number, end in enumerate(ends):
            if not done[number]:
                try:
                    end.do_handshake()
                    done[number] = True
                except ssl.SSLWantReadError:
                    continue
    assert done == [True, True]


def test_a_kubeconfig_carries_everything_inside(directory: DataDirectory) -> None:
    document = json.loads(directory.kubeconfig().read_text())
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_nobody_of_the_cluster_is_known_to_the_store(directory: DataDirectory) -> None:
    """The store has an authority of its own: with a node's certificate one reads no secret past the API."""
    own = x509.load_pem_x509_certificate((directory.pki / "etcd" / "ca.crt").read_bytes())
    for file in directory.pki.glob("*.crt"):
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        assert certificate.issuer != own.subject and certificate.public_key() != own.public_key()
    for file in (directory.pki / "etcd").glob("*.crt"):
        x509.load_pem_x509_certificate(file.read_bytes()).verify_directly_issued_by(own)


def test_only_the_administrator_is_a_master_and_an_older_certificate_that_is_one_is_replaced(
    directory: DataDirectory,
) -> None:
    plan = Plan(simulated_nodes=2)
    old = Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",))
    Authority(directory.pki).ensure(old)
    ensure_pki(directory, plan)
    masters = set()
    for path in directory.pki.glob("*.crt"):
        subject = x509.load_pem_x509_certificate(path.read_bytes()).subject
        if "system:masters" in [item.value for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]:
            masters.add(path.stem)
    assert masters == {"admin"}
