"""etcd's configuration file as flags."""

import json
from pathlib import Path

import pytest

from kvstore.config_file import read_config_file

EXAMPLE = """
# as etcd.conf.yml.sample has it
name: 'one'
data-dir: /var/lib/one
heartbeat-interval: 100
listen-client-urls: https://localhost:2379,https://localhost:4001
quota-backend-bytes: 0
initial-cluster: one=https://localhost:2380
enable-pprof: true
proxy:
client-transport-security:
  cert-file: server.crt
  key-file: server.key
  client-cert-auth: true
  trusted-ca-file: ca.crt
  auto-tls: false
peer-transport-security:
  cert-file: peer.crt
  client-cert-auth: false
  key-file: ''
"""


def written(path: Path, text: str) -> Path:
    file = path / "etcd.conf.yml"
    file.write_text(text)
    return file


def test_settings_become_flags_and_the_sections_their_own(tmp_path: Path) -> None:
    assert read_config_file(written(tmp_path, EXAMPLE)) == {
        "name": "one",
        "data-dir": "/var/lib/one",
        "heartbeat-interval": "100",
        "listen-client-urls": "https://localhost:2379,https://localhost:4001",
        "quota-backend-bytes": "0",
        "initial-cluster": "one=https://localhost:2380",
        "enable-pprof": "true",
        "cert-file": "server.crt",
        "key-file": "server.key",
        "client-cert-auth": "true",
        "trusted-ca-file": "ca.crt",
        "auto-tls": "false",
        "peer-cert-file": "peer.crt",
        "peer-client-cert-auth": "false",
    }


def test_json_will_do_and_lists_are_joined(tmp_path: Path) -> None:
    settings = {"name": "one", "log-outputs": ["stderr", "file"]}
    assert read_config_file(written(tmp_path, json.dumps(settings))) == {"name": "one", "log-outputs": "stderr,file"}


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert read_config_file(written(tmp_path, "# nothing\n")) == {}


@pytest.mark.parametrize("text", ["- a\n", "name: {first: one}\n", "a: [", "client-transport-security: yes\n"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"etcd\.conf\.yml"):
        read_config_file(written(tmp_path, text))
