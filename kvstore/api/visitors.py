"""Who may ask over HTTP from a browser: etcd's --cors (which pages) and --host-whitelist (by which names of ours)."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace

from kvstore.rpc import Http1Answer, Http1Handler, Http1Request, Http1Response

__all__ = ["VisitorRules"]

_ANY = frozenset("*")
_METHODS, _HEADERS = "POST, GET, OPTIONS, PUT, DELETE", "accept, content-type, authorization"
_FORBIDDEN, _MISDIRECTED = 403, 421
_REFUSAL = """
This member received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. --host-whitelist "{host}"

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).

"""


@dataclass(frozen=True, slots=True)
class VisitorRules:
    """Sets of origins and of host names; "*" is all, and so is an empty set of names."""

    origins: frozenset[str] = _ANY
    host_names: frozenset[str] = _ANY

    def over(self, handler: Http1Handler) -> Http1Handler:
        """`handler` for those who may ask, with the headers that let a page see its answers."""

        def guarded(request: Http1Request) -> Http1Answer | Awaitable[Http1Answer]:
            if not request.is_secure and not self._knows(request.headers.get("host", "")):
                text = _REFUSAL.format(host=_name(request.headers.get("host", "")))
                return Http1Response(_MISDIRECTED, {"content-type": "text/plain; charset=utf-8"}, text.encode())
            headers = self._headers(request.headers.get("origin", ""))
            if request.method == "OPTIONS":
                return Http1Response(200, headers)
            if request.websocket_key and request.headers.get("origin") and not headers:
                return Http1Response(_FORBIDDEN)  # no browser asks before it opens one, so that we have to
            answer = handler(request)
            return _with_later(answer, headers) if isinstance(answer, Awaitable) else _with(answer, headers)

        return guarded

    def _knows(self, host: str) -> bool:
        return not self.host_names or "*" in self.host_names or _name(host) in self.host_names

    def _headers(self, origin: str) -> dict[str, str]:
        allowed = "*" if "*" in self.origins else origin if origin and origin in self.origins else ""
        if not allowed:
            return {}
        return {
            "access-control-allow-headers": _HEADERS,
            "access-control-allow-methods": _METHODS,
            "access-control-allow-origin": allowed,
        }


def _name(host: str) -> str:
    """A Host header without its port: "[::1]:2379" is "::1"."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host if host.count(":") == 1 else host


def _with(answer: Http1Answer, headers: dict[str, str]) -> Http1Answer:
    is_page = isinstance(answer, Http1Response)
    return replace(answer, headers={**headers, **answer.headers}) if headers and is_page else answer


async def _with_later(answer: Awaitable[Http1Answer], headers: dict[str, str]) -> Http1Answer:
    return _with(await answer, headers)
