"""Which web pages may call, and under which names: browsers send requests for any page that their user opens.

A page of another origin can send a browser's POST to this server without asking (a "simple" request), and one whose own
name was pointed at this machine after it was loaded (DNS rebinding) is even of the same origin. Neither differs
from its user by its address. What differs is what the browser sends: Origin, Sec-Fetch-Site and Host.
"""

import re
from collections.abc import Sequence, Set
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.responses import Response
from starlette.types import Scope

from runtime.http.errors import ApiError

_READ = ("GET", "HEAD", "OPTIONS")  # a page of another origin gets no answer of these to read
_METHODS = b"GET, POST, PUT, PATCH, DELETE"
_EXPOSED = b"retry-after, server-timing, x-request-id"
_PREFLIGHT_S = b"600"
_SEEN = frozenset(
    {b"host", b"origin", b"sec-fetch-site", b"access-control-request-method", b"access-control-request-headers"}
)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/\s]+)(?::\d*)?")
_QUOTED_CHARS = 200

Header = tuple[bytes, bytes]


class Origins:
    """403 for a request other than GET that a page of another origin sends, unless `allowed` lists it; those get their
    preflights answered, and the headers of CORS.

    `hosts`: names that the Host header may have. Where there are none, and callers need no key (`open`), a connection
    to a loopback address has to name this machine: localhost or an address. `exempt` paths are served under any name.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[str],
        hosts: Sequence[str],
        open: bool,
        exempt: Set[str] = frozenset(),
    ) -> None:
        self._allowed = frozenset(origin.encode("latin-1") for origin in allowed)
        self._hosts = frozenset(name.lower() for name in hosts)
        self._open = open
        self._exempt = exempt

    def check(self, scope: Scope) -> tuple[Response | None, Sequence[Header]]:
        """The answer to a request that goes no further, None for one that does, and headers for its answer."""
        found: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _SEEN:
                if name in found and found[name] != value:
                    value = b"null"  # no browser sends two; what they have in common is nothing
                found[name] = value
        origin = found.get(b"origin")
        refusal = self._refusal(scope, found, origin)
        if refusal is not None:
            return refusal.response(), ()
        if not self._allowed:
            return None, ()
        headers: list[Header] = [(b"vary", b"origin")]
        if origin is not None and origin in self._allowed:
            headers += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED)]
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in found:
                return _preflight(found, headers), ()
        return None, headers

    def _refusal(self, scope: Scope, found: dict[bytes, bytes], origin: bytes | None) -> ApiError | None:
        host = found.get(b"host", b"")
        if host and not self._is_served(host, scope) and scope["path"] not in self._exempt:
            return ApiError(
                403,
                "unknown_host",
                f"nothing is served under the name {_quoted(host)}: call this server by an address or as localhost, or "
                "list the name in VOWS_ALLOWED_HOSTS",
            )
        if origin is not None and origin in self._allowed:
            return None
        if scope["method"] == "OPTIONS" and origin is not None and b"access-control-request-method" in found:
            return _foreign(origin, "call")
        if scope["method"] in _READ:
            return None
        site = found.get(b"sec-fetch-site", b"")
        if site not in (b"", b"none", b"same-origin"):
            return _foreign(origin or site, "send this")
        if origin is not None and site != b"same-origin" and not _same(origin, host):
            return _foreign(origin, "send this")
        return None

    def _is_served(self, host: bytes, scope: Scope) -> bool:
        if self._hosts:
            return "*" in self._hosts or _name(host) in self._hosts or _is_this_machine(host)
        if not self._open:
            return True
        server = scope.get("server")
        return server is None or not _is_loopback(server[0]) or _is_this_machine(host)


def _preflight(found: dict[bytes, bytes], headers: list[Header]) -> Response:
    """A page that is allowed may send what it likes: SDKs add headers of their own."""
    response = Response()
    response.raw_headers += headers
    response.raw_headers += [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _PREFLIGHT_S)]
    if wanted := found.get(b"access-control-request-headers"):
        response.raw_headers.append((b"access-control-allow-headers", wanted))
    return response


def _foreign(origin: bytes, what: str) -> ApiError:
    return ApiError(
        403,
        "foreign_origin",
        f"a page of another origin ({_quoted(origin)}) may not {what}; if it should, list it in VOWS_CORS_ORIGINS",
    )


def _same(origin: bytes, host: bytes) -> bool:
    """Whether the origin has the host and port that were called; a proxy may have ended TLS."""
    scheme, _, rest = origin.lower().partition(b"://")
    default = {b"http": b":80", b"https": b":443"}.get(scheme, b"")
    return bool(rest) and rest.removesuffix(default) == host.lower().removesuffix(default)


@lru_cache(maxsize=64)
def _name(host: bytes) -> str:
    """The name of a Host header without its port; empty for what is none."""
    match = _HOST.fullmatch(host.decode("latin-1").lower())
    return match.group(1).removesuffix(".") if match else ""


@lru_cache(maxsize=64)
def _is_this_machine(host: bytes) -> bool:
    """Whether no one but this machine's own resolver decides where the name leads. Addresses are not resolved."""
    name = _name(host)
    return name == "localhost" or name.endswith(".localhost") or _address(name.strip("[]")) is not None


@lru_cache(maxsize=64)
def _is_loopback(text: str) -> bool:
    address = _address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address  # a socket for both families names them so
    return address is not None and address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _quoted(value: bytes) -> str:
    return repr(value[:_QUOTED_CHARS].decode("latin-1"))
