"""What is measured: one member of our store and one API server beside it, each a process of its own, with certificates."""

import asyncio
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from controlplane.launcher.bench.system import OURS_COMMAND, Member, free_ports
from controlplane.launcher.pki import Authority, Identity, load_or_make_key, write
from controlplane.launcher.state import LauncherError
from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost
from controlplane.machinery.config import ClientConfig
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, NAMESPACES, SERVICE_ACCOUNTS

HOST = "127.0.0.1"
NAMESPACE = "bench"
START_SECONDS = 60.0
POLL_SECONDS = 0.01
TOKEN_SECONDS = 3600
SERVER_COMMAND = [sys.executable, "-m", "controlplane.launcher.cli", "apiserver"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is and who asks."""

    server: str
    token: str
    authority: Path


class ApiSystem:
    """The two processes; files stand in `folder`, which must be empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pki = folder / "pki"
        client, peer, self.port = free_ports(3)
        store, members = f"http://{HOST}:{client}", f"http://{HOST}:{peer}"
        flags = {"name": "m0", "data-dir": str(folder / "store"), "initial-cluster": f"m0={members}",
                 "listen-client-urls": store, "advertise-client-urls": store, "listen-peer-urls": members,
                 "initial-advertise-peer-urls": members, "quota-backend-bytes": str(8 << 30)}  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in flags.items()]
        self.store = Member([*OURS_COMMAND, *arguments], f"{HOST}:{client}", folder / "store.log")
        self.server = Member(self._server_command(store), f"{HOST}:{self.port}", folder / "apiserver.log")
        self.client: ApiClient
        self.endpoint: Endpoint
        self.ready_seconds = 0.0

    def _server_command(self, store: str) -> list[str]:
        pki = self._pki
        flags = {"etcd-servers": store, "secure-port": str(self.port), "bind-address": HOST,
                 "tls-cert-file": str(pki / "apiserver.crt"), "tls-private-key-file": str(pki / "apiserver.key"),
                 "client-ca-file": str(pki / "ca.crt"), "service-account-key-file": str(pki / "sa.pub"),
                 "service-account-signing-key-file": str(pki / "sa.key")}  # fmt: skip
        return [*SERVER_COMMAND, *(f"--{name}={value}" for name, value in flags.items())]

    def _make_pki(self) -> None:
        authority = Authority(self._pki)
        authority.ensure(Identity("apiserver", "kube-apiserver", (), ("localhost", HOST)))
        authority.ensure(Identity("admin", "bench-admin", ("system:masters",)))
        public = load_or_make_key(self._pki / "sa.key").public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        write(self._pki / "sa.pub", public.public_bytes(serialization.Encoding.PEM, form))

    async def start(self) -> None:
        """Start both; return when the API server is ready. Raises LauncherError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pki.mkdir(exist_ok=True)
        self._make_pki()
        pki, server = self._pki, f"https://{HOST}:{self.port}"
        self.client = ApiClient(ClientConfig.from_files(server, pki / "ca.crt", pki / "admin.crt", pki / "admin.key"))
        self.store.start()
        await self._until_it_listens(self.store)
        started = time.monotonic()
        self.server.start()
        await self._until_ready()
        self.ready_seconds = time.monotonic() - started
        self.endpoint = Endpoint(server, await self._token(), pki / "ca.crt")

    async def _until_it_listens(self, process: Member) -> None:
        host, _, port = process.endpoint.partition(":")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.is_running:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(POLL_SECONDS)
            else:
                writer.close()
                return
        raise LauncherError(f"it does not start: {process.last_words()}")

    async def _until_ready(self) -> None:
        await self._until_it_listens(self.server)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.server.is_running:
            try:
                await self.client.raw("GET", "/readyz")
            except (ApiError, ConnectionLost, OSError):
                await asyncio.sleep(POLL_SECONDS)
            else:
                return
        raise LauncherError(f"the API server is not ready: {self.server.last_words()}")

    async def _token(self) -> str:
        """The token of a service account that may do everything: wrk has no client certificates."""
        await self.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": NAMESPACE, "namespace": NAMESPACE},
        }
        await self.client.create(SERVICE_ACCOUNTS, account)
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": NAMESPACE, "namespace": NAMESPACE}],
        }
        await self.client.create(CLUSTER_ROLE_BINDINGS, binding)
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                  "metadata": {"namespace": NAMESPACE}, "spec": {"expirationSeconds": TOKEN_SECONDS}}  # fmt: skip
        answer = await self.client.create(SERVICE_ACCOUNTS, review, NAMESPACE, subresource="token", name=NAMESPACE)
        return str(answer["status"]["token"])

    async def stop(self) -> None:
        """End both; nothing of them is needed any more."""
        if hasattr(self, "client"):
            await self.client.close()
        for process in (self.server, self.store):
            if process.is_running:
                try:
                    await asyncio.to_thread(process.end, signal.SIGKILL)
                except subprocess.TimeoutExpired as error:
                    raise LauncherError(f"a process does not end: {error}") from error
