"""What every request is served with: one value, made at start, handed to handlers with the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controlplane.apiserver.aggregation.registrations import Registrations
from controlplane.apiserver.audit import Auditor
from controlplane.apiserver.config import ApiServerConfig
from controlplane.apiserver.crd.manager import CustomResources
from controlplane.apiserver.environment import Environment
from controlplane.apiserver.fairness.fairness import Fairness
from controlplane.apiserver.metrics import Metrics
from controlplane.apiserver.nodemetrics.source import Measurer
from controlplane.apiserver.openapi import OpenApi
from controlplane.apiserver.registry.events import LeasePool
from controlplane.apiserver.storage.backend import Backend
from controlplane.apiserver.storage.caches import Caches
from controlplane.apiserver.storage.store import ObjectStore
from controlplane.apiserver.storage.subscription import Subscription
from controlplane.apiserver.webhooks.clients import Clients
from controlplane.objects.scheme import Scheme

if TYPE_CHECKING:
    from controlplane.apiserver.authn.chain import Authenticator
    from controlplane.apiserver.authz.authorizer import Authorizer
    from controlplane.apiserver.subresources.kubelets import Upstreams


class Streams:
    """Streams that only end when somebody ends them (followed logs), so that a stopping server can."""

    def __init__(self) -> None:
        self._open: set[Callable[[], None]] = set()

    def enter(self, end: Callable[[], None]) -> Callable[[], None]:
        """Count a stream in; the answer counts it out."""
        self._open.add(end)
        return lambda: self._open.discard(end)

    def end_all(self) -> None:
        for end in list(self._open):
            end()


class Watchers:
    """The watches that are open, so that a stopping server can end them."""

    def __init__(self) -> None:
        self._open: set[Subscription] = set()
        self._closing = False

    def enter(self, subscription: Subscription) -> Callable[[], None]:
        """Count a watch in; the answer counts it out."""
        self._open.add(subscription)
        if self._closing:
            subscription.end()
        return lambda: self._open.discard(subscription)

    def __len__(self) -> int:
        return len(self._open)

    def end_all(self) -> None:
        """End all watches, and those that still come."""
        self._closing = True
        for subscription in list(self._open):
            subscription.end()


@dataclass(slots=True)
class Services:
    """The parts of one API server."""

    config: ApiServerConfig
    environment: Environment
    scheme: Scheme
    backend: Backend
    store: ObjectStore
    caches: Caches
    authenticator: Authenticator
    authorizer: Authorizer
    metrics: Metrics
    upstreams: Upstreams
    watchers: Watchers = field(default_factory=Watchers)
    streams: Streams = field(default_factory=Streams)
    event_leases: LeasePool = field(default_factory=LeasePool)
    node_metrics: Measurer = field(default_factory=Measurer)
    fairness: Fairness = field(default_factory=lambda: Fairness(600, 15.0))
    audit: Auditor | None = None
    admission_settings: dict[str, Any] = field(default_factory=dict)  # of plugins that are configured, by name
    quota_recounts: dict[str, float] = field(default_factory=dict)  # loop time of the last count, by key of the quota
    webhooks: Clients = field(default_factory=Clients)
    custom: CustomResources = field(default_factory=CustomResources)
    aggregation: Registrations = field(default_factory=Registrations)
    documents: OpenApi | None = None
    is_ready: bool = False
    is_stopping: bool = False

    def openapi(self) -> OpenApi:
        """The OpenAPI documents, made when somebody asks for the first time."""
        if self.documents is None:
            self.documents = OpenApi(self.scheme)
        return self.documents
