"""Where calls may go: the check of a URL and of every address its host resolves to.

Owns the defence against requests forged into private networks; must not send anything.
"""

import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from bridge.core.errors import Refused


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Where calls may go: https to public addresses, written-out loopback, and the hosts an operator listed.

    `plain_http` lets listed hosts speak http too, for a chain reader or price source on the operator's own network.
    """

    allow_loopback: bool = True
    allow_hosts: frozenset[str] = frozenset()
    plain_http: bool = False

    def check_url(self, url: str) -> None:
        """Raise Refused `blocked_url` for a URL that must not be called, before any name is resolved."""
        _check_url(self, url)

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve `host` once and return what may be connected to; one private answer blocks the name (rebinding)."""
        host = host.strip("[]").lower()
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        for text in found:
            address = ipaddress.ip_address(text.partition("%")[0])
            loopback = self.allow_loopback and is_loopback(host) and address.is_loopback
            if host not in self.allow_hosts and not loopback and not _is_public(address):
                raise Refused("blocked_url", "The host does not resolve to a public address.", field="url")
        return list(dict.fromkeys(found))


@lru_cache(maxsize=256)
def _check_url(guard: Guard, url: str) -> None:
    """Once for a URL that is called again and again."""
    parts = _split(url)
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        raise Refused("blocked_url", "A URL must not carry a login.", field="url")
    loopback = guard.allow_loopback and is_loopback(host)
    if parts.scheme != "https" and not loopback and not (guard.plain_http and host in guard.allow_hosts):
        raise Refused("blocked_url", "Only https is allowed here.", field="url")


def is_loopback(host: str) -> bool:
    """Whether the host is written as loopback; a name that merely resolves to it is not."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Refused("blocked_url", "This is not an http or https URL.", field="url")
    return parts


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        # An IPv4 address wrapped in IPv6 goes where the IPv4 address goes.
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved
