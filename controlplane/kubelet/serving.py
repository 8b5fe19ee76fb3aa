"""With which certificate a node serves: given files, read again when they change, or one asked for by requests.

    Serving(config, client, clock, random)    `context` for the listener; `run()` keeps its certificate fresh

With `server_tls_bootstrap` the node asks for `kubernetes.io/kubelet-serving` certificates of its own name and address, in the
last third of the life of the one before; the given files, if any, serve until the first is due. Without any certificate
handshakes fail, as they do at a kubelet whose request nobody has approved yet. Listener and connections stay.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from controlplane.kubelet import certificates
from controlplane.kubelet.certificates import Ask, Rotation, life_of
from controlplane.kubelet.config import KubeletConfig
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.objects.certificates import KUBELET_SERVING

log = logging.getLogger("controlplane.kubelet")

FILE: Final = "kubelet-server-current.pem"
USAGES: Final = ("digital signature", "server auth")
CHECK_SECONDS: Final = 5.0  # between two looks at files that somebody else writes


def ask_of(config: KubeletConfig) -> Ask:
    """The request for a certificate of the node's own name and address."""
    address = ipaddress.ip_address(config.node_ip)
    return Ask(config.node_name, KUBELET_SERVING, USAGES, (config.node_name,), (address,))


class Serving(Rotation):
    """The context of one node's listener."""

    def __init__(self, config: KubeletConfig, client: ApiClient, clock: Clock, random: Random) -> None:
        super().__init__(config, client, clock, random, self.load)
        self._config = config
        self._path = certificates.folder_of(config) / FILE
        self._ask = ask_of(config)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_verify_locations(config.client_ca_file)
        self.context.verify_mode = ssl.CERT_OPTIONAL  # none is told 401; a wrong one gets no connection
        if self._current() is not None:
            self.load()

    def _current(self) -> tuple[Path, Path] | None:
        """Certificate and key that serve now."""
        own, given = self._path, self._config.tls_cert_file
        if self._config.server_tls_bootstrap and own.exists() and (not given or life_of(own)[1] > self._clock.now()):
            return own, own
        return (Path(given), Path(self._config.tls_private_key_file)) if given else None

    def load(self) -> None:
        """Serve new connections with what the files hold now. OSError, ssl.SSLError when that cannot be."""
        files = self._current()
        if files is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*files)  # a pair that does not fit harms nobody
            self.context.load_cert_chain(*files)

    def due_at(self) -> datetime:
        """When to ask: at once without a certificate."""
        files = self._current()
        return self._due_of(files[0]) if files is not None else self._clock.now()

    async def run(self) -> None:
        """For ever."""
        if self._config.server_tls_bootstrap:
            await super().run()
        files = self._config.tls_cert_file, self._config.tls_private_key_file
        await follow([Path(file) for file in files], self.load)


def client_files(client: ApiClient) -> list[Path]:
    """The files that a client's connections were made with."""
    config = client.config
    return [Path(file) for file in (config.certificate_file, config.key_file, config.ca_file) if file]


def _stamp(files: Iterable[Path]) -> tuple[Any, ...]:
    found: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return tuple(found)


async def follow(files: list[Path], load: Callable[[], None]) -> None:
    """Call `load` after every change of a file. What cannot be loaded (a pair half written) is tried again; for ever."""
    loaded = _stamp(files)
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        now = _stamp(files)
        if now == loaded:
            continue
        try:
            load()
        except (OSError, ValueError) as error:
            log.warning("changed certificates are not used yet: %s", error)
            continue
        loaded = now
        log.info("read again: %s", ", ".join(str(file) for file in files))
