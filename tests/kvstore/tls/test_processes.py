"""Three members that speak TLS with one another and with real clients; flags and files as users give them."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.kvstore.api.processes import ETCDCTL, ROOT, Process, free_ports, needs_etcdctl
from tests.kvstore.tls.test_tls import Folder, authority_named

PROGRAM = [sys.executable, "-m", "kvstore.command"]
READY = "ready to serve client requests"


def settings(folder: Folder, directory: Path, name: str, client_port: int, peer_port: int, cluster: str) -> dict[str, object]:
    """An etcd.conf.yml with TLS everywhere."""
    security = {
        "cert-file": str(folder.path / "server.pem"),
        "key-file": str(folder.path / "server.key"),
        "trusted-ca-file": str(folder.path / "ca.pem"),
        "client-cert-auth": True,
    }
    return {
        "name": name,
        "data-dir": str(directory / name),
        "listen-client-urls": f"https://127.0.0.1:{client_port}",
        "advertise-client-urls": f"https://127.0.0.1:{client_port}",
        "listen-peer-urls": f"https://127.0.0.1:{peer_port}",
        "initial-advertise-peer-urls": f"https://127.0.0.1:{peer_port}",
        "initial-cluster": cluster,
        "client-transport-security": security,
        "peer-transport-security": security,
        "enable-pprof": True,
    }


@dataclass(frozen=True)
class Running:
    """A cluster with TLS."""

    folder: Folder
    ports: list[int]

    def control(self, *arguments: str, client: str = "client", seconds: int = 5) -> subprocess.CompletedProcess[str]:
        endpoints = ",".join(f"https://127.0.0.1:{port}" for port in self.ports)
        authority = self.folder.path / "ca.pem"
        command = [ETCDCTL, f"--endpoints={endpoints}", f"--cacert={authority}", f"--command-timeout={seconds}s"]
        if client:
            command += [f"--cert={self.folder.path / client}.pem", f"--key={self.folder.path / client}.key"]
        return subprocess.run(
            [*command, *arguments], env={"ETCDCTL_API": "3"}, capture_output=True, text=True, check=False, timeout=30
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("tls")
    folder = Folder(directory)
    folder.issue("client")
    folder.issue("stranger", authority_named("of nobody"))
    ports = free_ports(6)
    cluster = ",".join(f"m{number}=https://127.0.0.1:{port}" for number, port in enumerate(ports[3:]))
    members = []
    for number in range(3):
        file = directory / f"m{number}.yml"
        values = settings(folder, directory, f"m{number}", ports[number], ports[3 + number], cluster)
        file.write_text(yaml.safe_dump(values))
        members.append(Process([*PROGRAM, f"--config-file={file}"], directory / f"m{number}.log", READY))
    try:
        for member in members:
            member.start()
        for member in members:
            member.wait_ready()
        yield Running(folder, ports[:3])
    finally:
        for member in members:
            member.end()


@needs_etcdctl
def test_a_client_with_a_certificate_is_served_by_every_member(running: Running) -> None:
    assert running.control("put", "a", "1").stdout == "OK\n"
    assert running.control("get", "a").stdout == "a\n1\n"
    health = running.control("endpoint", "health")
    assert health.returncode == 0, health.stderr
    assert len(json.loads(running.control("member", "list", "-w", "json").stdout)["members"]) == 3


@needs_etcdctl
@pytest.mark.parametrize("client", ["", "stranger"])
def test_others_are_not(running: Running, client: str) -> None:
    assert running.control("get", "a", client=client, seconds=1).returncode != 0


@needs_etcdctl
def test_with_auth_on_the_common_name_of_the_certificate_is_the_user(running: Running) -> None:
    for name in ("root", "ann", "nobody"):
        running.folder.issue(name)
    for arguments in (
        ("user", "add", "root:pw"),
        ("user", "grant-role", "root", "root"),
        ("user", "add", "ann", "--no-password"),
        ("role", "add", "reader"),
        ("role", "grant-permission", "reader", "--prefix", "read", "open/"),
        ("user", "grant-role", "ann", "reader"),
        ("put", "open/a", "1"),
        ("put", "closed", "1"),
        ("auth", "enable"),
    ):
        done = running.control(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    try:
        assert running.control("get", "open/a", client="ann").stdout == "open/a\n1\n"
        for arguments in (("get", "closed"), ("put", "open/a", "2"), ("user", "list")):
            denied = running.control(*arguments, client="ann")
            assert "permission denied" in denied.stderr, (arguments, denied.stderr)
        assert running.control("put", "closed", "2", client="root").stdout == "OK\n"
        assert running.control("get", "open/a", client="nobody").returncode != 0
        by_password = running.control("get", "closed", "--user=root:pw", client="ann")
        assert by_password.stdout == "closed\n2\n", by_password.stderr  # a token counts before the certificate
    finally:
        assert running.control("auth", "disable", client="root").returncode == 0


def test_the_gateway_is_behind_the_same_lock(running: Running) -> None:
    context = running.folder.files("client").client_context()
    assert context is not None
    connection = http.client.HTTPSConnection("127.0.0.1", running.ports[0], context=context, timeout=10)
    connection.request("POST", "/v3/maintenance/status", "{}")
    assert json.loads(connection.getresponse().read())["version"]
    connection.close()
    bare = ssl.create_default_context(cafile=str(running.folder.path / "ca.pem"))
    connection = http.client.HTTPSConnection("127.0.0.1", running.ports[0], context=bare, timeout=10)
    with pytest.raises(OSError):  # the handshake is cut, in whatever words
        connection.request("GET", "/health")
        connection.getresponse()


def test_a_member_says_which_settings_of_the_file_have_no_effect(running: Running) -> None:
    assert "flags without effect here: --enable-pprof (" in (running.folder.path / "m0.log").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--auto-tls", "--client-cert-auth"], "certificates that are made here prove nothing"),
        (["--peer-auto-tls=true", "--self-signed-cert-validity=0"], "--self-signed-cert-validity must be"),
        (["--peer-cert-allowed-cn", "etcd"], "give the authority"),
        (["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"], "AllowedCN and AllowedHostname are mutually exclusive"),
        (["--listen-client-urls=https://127.0.0.1:0"], "needs --cert-file and --key-file"),
        (["--cert-file=a.pem", "--key-file=a.key"], "a.pem is not there"),
        (["--cert-file=a.pem"], "a.pem comes without its key"),
        (["--client-cert-auth"], "no certificate to serve TLS with"),
        (["--tls-min-version=TLS1.0"], "--tls-min-version must be"),
        (["--cipher-suites=RC4"], "--cipher-suites has 'RC4'"),
        (["--config-file=none.yml"], "none.yml"),
        (["--enable-v2"], "--enable-v2 is not supported"),
        (["--discovery=http://d"], "--discovery is not supported"),
        (["--no-such-flag=1"], "flag provided but not defined: -no-such-flag"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(tmp_path: Path, flags: list[str], said: str) -> None:
    command = [*PROGRAM, f"--data-dir={tmp_path / 'data'}", *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert said in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()
