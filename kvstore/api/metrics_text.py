"""Families of metrics, and their text in Prometheus' format."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kvstore.member.figures import Histogram
from kvstore.rpc import Streaming, Unary

__all__ = ["Family", "of_calls", "of_histogram", "render"]

CODES = ("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
         "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
         "DataLoss", "Unauthenticated")  # fmt: skip - by number, in the words of Go's gRPC
BOTH_WAYS = ("/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive")
REFLECTION = "ServerReflectionInfo"


@dataclass(frozen=True, slots=True)
class Family:
    """One name. `samples` are (what follows the name: suffix and labels, value)."""

    name: str
    kind: str  # counter, gauge or histogram
    explanation: str
    samples: tuple[tuple[str, float], ...]


def render(families: Iterable[Family]) -> str:
    """Return the page."""
    lines = []
    for one in families:
        lines += [f"# HELP {one.name} {one.explanation}", f"# TYPE {one.name} {one.kind}"]
        lines += [f"{one.name}{rest} {value:.15g}" for rest, value in one.samples]
    return "\n".join([*lines, ""])


def of_histogram(name: str, explanation: str, histogram: Histogram) -> Family:
    """Return a histogram's family: counts are cumulative."""
    samples: list[tuple[str, float]] = []
    count = 0
    for bound, more in zip((*histogram.bounds, None), histogram.counts, strict=True):
        count += more
        samples.append((f'_bucket{{le="{"+Inf" if bound is None else f"{bound:g}"}"}}', count))
    return Family(name, "histogram", explanation, (*samples, ("_sum", histogram.total_seconds), ("_count", count)))


def of_calls(routes: Mapping[str, Unary | Streaming]) -> Iterator[Family]:
    """Yield what grpc-prometheus tells of a server, by method."""
    started: list[tuple[str, float]] = []
    handled: list[tuple[str, float]] = []
    for path, route in sorted(routes.items()):
        labels, tally = _labels(path, route), route.tally
        started.append((f"{{{labels}}}", tally.started))
        ended = {0: tally.succeeded, **tally.failed}
        handled += [(f'{{grpc_code="{CODES[code]}",{labels}}}', count) for code, count in sorted(ended.items())]
    yield Family("grpc_server_started_total", "counter", "RPCs begun.", tuple(started))
    yield Family("grpc_server_handled_total", "counter", "RPCs ended, by outcome.", tuple(handled))


def _labels(path: str, route: Unary | Streaming) -> str:
    _, service, method = path.split("/")
    is_both = path in BOTH_WAYS or method == REFLECTION
    kind = "unary" if isinstance(route, Unary) else "bidi_stream" if is_both else "server_stream"
    return f'grpc_method="{method}",grpc_service="{service}",grpc_type="{kind}"'
