"""TLS as etcd's flags describe it, and certificates that are read again when their files change.

    tls = MemberTls(config, loop.call_later)      tls.clients, tls.peers, tls.to_peers: contexts, None without TLS; stop()

    TlsFiles     one side's files, and contexts of them
    Reloader     looks at files now and then, and loads those that changed

As in etcd, a trusted authority makes client certificates required, and connections that stand keep the certificates
they began with. A new authority is added to those that are trusted; one that is taken away needs a restart.
"""

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from kvstore.certificates import AllowedNames, self_signed
from kvstore.member.config import MemberConfig

__all__ = ["AllowedNames", "AutoTls", "MemberTls", "Reloader", "TlsFiles", "TlsLimits"]

logger = logging.getLogger("kvstore.tls")

CHECK_SECONDS = 5.0  # between looks at the files

_VERSIONS = {"": ssl.TLSVersion.TLSv1_2, "TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}

_Stamp = tuple[tuple[int, int, int], ...]


class Timer(Protocol):
    """What loop.call_later returns."""

    def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True)
class AutoTls:
    """etcd's --auto-tls, --peer-auto-tls and --self-signed-cert-validity: encrypted, but nobody proves who he is."""

    for_clients: bool = False
    for_peers: bool = False
    validity_years: int = 1


@dataclass(frozen=True, slots=True)
class TlsLimits:
    """etcd's --tls-min-version ("TLS1.2", "TLS1.3"), --cipher-suites (Go's names; they concern TLS 1.2 alone), --*-crl-file,
    and the names that certificates must have.
    """

    min_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    client_crl_file: str = ""  # PEM lists of revoked certificates, each signed by the authority of its side
    peer_crl_file: str = ""
    client_names: AllowedNames = field(default_factory=AllowedNames)
    peer_names: AllowedNames = field(default_factory=AllowedNames)
    auto: AutoTls = field(default_factory=AutoTls)

    def set(self, context: ssl.SSLContext) -> None:
        """Have `context` keep to them. Raises ValueError for names that there are not."""
        if self.min_version not in _VERSIONS:
            raise ValueError(f"--tls-min-version must be TLS1.2 or TLS1.3, not {self.min_version!r}")
        context.minimum_version = _VERSIONS[self.min_version]
        if self.cipher_suites:
            try:
                context.set_ciphers(":".join(map(_openssl_name, self.cipher_suites)))
            except ssl.SSLError as error:
                raise ValueError(f"--cipher-suites names none that there is: {','.join(self.cipher_suites)}") from error


def _openssl_name(suite: str) -> str:
    """Return OpenSSL's name: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is ECDHE-RSA-AES128-GCM-SHA256 there."""
    exchange, separator, cipher = suite.removeprefix("TLS_").partition("_WITH_")
    if not suite.startswith("TLS_") or not separator:
        raise ValueError(f"--cipher-suites has {suite!r} where a name such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is needed")
    cipher = cipher.replace("AES_", "AES").replace("_CBC", "")
    if cipher.startswith("CHACHA20_POLY1305"):
        cipher = "CHACHA20_POLY1305"
    exchange = "" if exchange == "RSA" else exchange + "-"
    return (exchange + cipher).replace("_", "-")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """One side's files (PEM); empty names where there are none. Contexts raise OSError (ssl.SSLError is one)."""

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    limits: TlsLimits = TlsLimits()
    crl_file: str = ""
    names_allowed: AllowedNames = field(default_factory=AllowedNames)
    is_self_signed: bool = False  # then nobody asks who the other is

    def server_context(self) -> ssl.SSLContext | None:
        """Return the context of a listener, None without a certificate. Raises ValueError for half a pair."""
        self._check_pair()
        if not self.cert_file:
            if self.client_cert_auth:
                raise ValueError("client certificates are asked for, but there is no certificate to serve TLS with")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.limits.set(context)
        self.names_allowed.set(context)
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
        self.limits.set(context)
        self.names_allowed.set(context)
        self._load(context)
        if self.is_self_signed:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif not self.trusted_ca_file:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context

    def _check_pair(self) -> None:
        if self.crl_file and not self.trusted_ca_file:
            raise ValueError(f"{self.crl_file} says what an authority has revoked, but there is no authority")
        if (self.names_allowed != AllowedNames()) and not self.trusted_ca_file and not self.client_cert_auth:
            raise ValueError("certificates must have certain names, but nobody has to show one: give the authority, too")
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
        if self.crl_file:
            self._load_revoked(context)

    def _load_revoked(self, context: ssl.SSLContext) -> None:
        known = context.cert_store_stats()["crl"]
        try:
            context.load_verify_locations(self.crl_file)
        except ssl.SSLError as error:
            raise ValueError(f"{self.crl_file} is no list of revoked certificates in PEM: {error}") from error
        if not known and not context.cert_store_stats()["crl"]:
            raise ValueError(f"{self.crl_file} is no list of revoked certificates in PEM")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF

    def reload(self, context: ssl.SSLContext) -> None:
        """Have new connections use what the files hold now. Raises as `server_context`; the context is unchanged then."""
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a try-out: a file may be half written
        self._load(context)

    def names(self) -> tuple[str, ...]:
        """Return the files that there are."""
        return tuple(name for name in (self.cert_file, self.key_file, self.trusted_ca_file, self.crl_file) if name)

    def stamp(self) -> _Stamp | None:
        """Return what changes when a file does, None while one cannot be found."""
        try:
            found = [Path(name).stat() for name in self.names()]
        except OSError:
            return None
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


class MemberTls:
    """The contexts of one member: for its clients, for the other members, and to reach them.

    Raises ValueError and OSError where a URL needs what the flags do not give, or a file does not hold what it should.
    """

    def __init__(
        self,
        config: MemberConfig,
        later: Callable[[float, Callable[[], None]], Timer],
        limits: TlsLimits | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        limits = limits or TlsLimits()
        limits.set(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a mistake is told where nobody speaks TLS, too
        for_clients = TlsFiles(
            config.cert_file,
            config.key_file,
            config.trusted_ca_file,
            config.client_cert_auth,
            limits,
            limits.client_crl_file,
            limits.client_names,
        )
        for_peers = TlsFiles(
            config.peer_cert_file,
            config.peer_key_file,
            config.peer_trusted_ca_file,
            config.peer_client_cert_auth,
            limits,
            limits.peer_crl_file,
            limits.peer_names,
        )
        now = datetime.fromtimestamp(wall_clock(), UTC)
        fixtures = config.data_dir / "fixtures"
        if limits.auto.for_clients:
            for_clients = _automatic(for_clients, fixtures / "client", config.listen_client_urls, now)
        if limits.auto.for_peers:
            for_peers = _automatic(for_peers, fixtures / "peer", config.listen_peer_urls, now)

        self.clients = for_clients.server_context()
        self.peers = for_peers.server_context()
        self.to_peers = for_peers.client_context()
        _check_urls(config.listen_client_urls, self.clients, "--cert-file and --key-file")
        _check_urls(config.listen_peer_urls, self.peers, "--peer-cert-file and --peer-key-file")
        self._reloader = Reloader(later)
        self._reloader.watch(for_clients, self.clients)
        self._reloader.watch(for_peers, self.peers)
        self._reloader.watch(for_peers, self.to_peers)

    def stop(self) -> None:
        """Look at the files no more."""
        self._reloader.stop()


def _automatic(files: TlsFiles, folder: Path, urls: tuple[str, ...], now: datetime) -> TlsFiles:
    """Return `files` with a certificate that is made here, if none was given."""
    if files.cert_file or files.key_file:
        logger.warning("no certificate is made in %s: one is given", folder)
        return files
    if files.client_cert_auth or files.trusted_ca_file:
        raise ValueError("certificates that are made here prove nothing to others: client certificates need ones that are given")
    hosts = [urlsplit(url).hostname or "" for url in urls]
    cert_file, key_file = self_signed(folder, filter(None, hosts), files.limits.auto.validity_years, now)
    return replace(files, cert_file=cert_file, key_file=key_file, is_self_signed=True)


def _check_urls(urls: tuple[str, ...], context: ssl.SSLContext | None, flags: str) -> None:
    for url in urls:
        if urlsplit(url).scheme == "https" and context is None:
            raise ValueError(f"{url} needs {flags}")


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
