"""Where configuration comes from."""

import base64
from pathlib import Path

import pytest
import yaml

from controlplane.machinery.config import ClientConfig, ConfigError

KUBECONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "work"}}],
    "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority": "pki/ca.crt"}}],
    "users": [{"name": "u", "user": {"client-certificate-data": base64.b64encode(b"PEM").decode(), "tokenFile": "t"}}],
}


def test_a_kubeconfig_names_files_relative_to_itself_and_carries_data(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(yaml.safe_dump(KUBECONFIG))
    config = ClientConfig.from_kubeconfig(tmp_path / "config", user_agent="me")
    assert config == ClientConfig(
        server="https://127.0.0.1:6443",
        ca_file=str(tmp_path / "pki/ca.crt"),
        certificate_data=b"PEM",
        token_file=str(tmp_path / "t"),
        namespace="work",
        user_agent="me",
    )


@pytest.mark.parametrize("broken", ["- a list", "{", "current-context: missing"])
def test_a_kubeconfig_that_cannot_be_used_says_which_file_and_why(tmp_path: Path, broken: str) -> None:
    (tmp_path / "config").write_text(broken)
    with pytest.raises(ConfigError, match=str(tmp_path / "config")):
        ClientConfig.from_kubeconfig(tmp_path / "config")


def test_in_a_pod_the_environment_and_the_projected_volume_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "namespace").write_text("here\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.9.128.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    config = ClientConfig.in_cluster(tmp_path)
    assert (config.server, config.namespace, config.token_file) == (
        "https://127.9.128.1:443",
        "here",
        str(tmp_path / "token"),
    )


def test_unreadable_credentials_are_a_config_error(tmp_path: Path) -> None:
    config = ClientConfig.from_files("https://127.0.0.1:1", tmp_path / "absent.crt")
    with pytest.raises(ConfigError, match=r"absent|No such file"):
        config.ssl_context()
