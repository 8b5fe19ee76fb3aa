"""TLS as etcd's flags describe it, and certificates that are read again when their files change.

    files = TlsFiles(cert_file, key_file, trusted_ca_file, client_cert_auth)
    context = files.server_context()          None where there is no certificate
    reloader = Reloader(loop.call_later); reloader.watch(files, context); reloader.stop()

As in etcd, a trusted authority makes client certificates required, and connections that stand keep the certificates
they began with. A new authority is added to those that are trusted; one that is taken away needs a restart.
"""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Reloader", "TlsFiles"]

logger = logging.getLogger("kvstore.tls")

CHECK_SECONDS = 5.0  # between looks at the files

_Stamp = tuple[tuple[int, int, int], ...]


class Timer(Protocol):
    """What loop.call_later returns."""

    def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """One side's files (PEM); empty names where there are none. Contexts raise OSError (ssl.SSLError is one)."""

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False

    def server_context(self) -> ssl.SSLContext | None:
        """Return the context of a listener, None without a certificate. Raises ValueError for half a pair."""
        self._check_pair()
        if not self.cert_file:
            if self.client_cert_auth:
                raise ValueError("client certificates are asked for, but there is no certificate to serve TLS with")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        if self.client_cert_auth or self.trusted_ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
            if not self.trusted_ca_file:
                context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return context

    def client_context(self) -> ssl.SSLContext | None:
        """Return the context of connections to other members, None without certificate and authority."""
        self._check_pair()
        if not self.cert_file and not self.trusted_ca_file:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        if not self.trusted_ca_file:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context

    def _check_pair(self) -> None:
        if bool(self.cert_file) != bool(self.key_file):
            missing = "key" if self.cert_file else "certificate"
            raise ValueError(f"{self.cert_file or self.key_file} comes without its {missing}")

    def _load(self, context: ssl.SSLContext) -> None:
        for name in self.names():
            if not Path(name).is_file():
                raise FileNotFoundError(f"{name} is not there")
        if self.cert_file:
            try:
                context.load_cert_chain(self.cert_file, self.key_file)
            except ssl.SSLError as error:
                raise ValueError(f"{self.cert_file} and {self.key_file} are no certificate and its key: {error}") from error
        if self.trusted_ca_file:
            try:
                context.load_verify_locations(self.trusted_ca_file)
            except ssl.SSLError as error:
                raise ValueError(f"{self.trusted_ca_file} holds no certificate: {error}") from error

    def reload(self, context: ssl.SSLContext) -> None:
        """Have new connections use what the files hold now. Raises as `server_context`; the context is unchanged then."""
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a try-out: a file may be half written
        self._load(context)

    def names(self) -> tuple[str, ...]:
        """Return the files that there are."""
        return tuple(name for name in (self.cert_file, self.key_file, self.trusted_ca_file) if name)

    def stamp(self) -> _Stamp | None:
        """Return what changes when a file does, None while one cannot be found."""
        try:
            found = [Path(name).stat() for name in self.names()]
        except OSError:
            return None
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


class Reloader:
    """Looks at files every CHECK_SECONDS and loads those that changed. What cannot be loaded is logged and tried again."""

    def __init__(self, later: Callable[[float, Callable[[], None]], Timer]) -> None:
        self._later = later
        self._watched: list[tuple[TlsFiles, ssl.SSLContext]] = []
        self._stamps: list[_Stamp | None] = []
        self._timer: Timer | None = None

    def watch(self, files: TlsFiles, context: ssl.SSLContext | None) -> None:
        """Keep `context` up to date; None is no TLS, and nothing to do."""
        if context is None:
            return
        self._watched.append((files, context))
        self._stamps.append(files.stamp())
        if self._timer is None:
            self._timer = self._later(CHECK_SECONDS, self._on_timer)

    def check(self) -> int:
        """Load what changed since the last look; return how many contexts did."""
        reloaded = 0
        for number, (files, context) in enumerate(self._watched):
            stamp = files.stamp()
            if stamp is None or stamp == self._stamps[number]:
                continue
            try:
                files.reload(context)
            except (ValueError, OSError) as error:
                logger.warning("changed certificates are not loaded yet: %s", error)
                continue
            self._stamps[number] = stamp
            reloaded += 1
            logger.info("loaded again: %s", ", ".join(files.names()))
        return reloaded

    def _on_timer(self) -> None:
        self.check()
        self._timer = self._later(CHECK_SECONDS, self._on_timer)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
