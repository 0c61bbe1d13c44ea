"""JSON-RPC to the operator's own node, through python-bitcoinlib's raw proxy.

Owns the login, the connection and the sorting of its failures; must not know addresses or wallets.
"""

import base64
import http.client
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from bitcoin.rpc import JSONRPCError, RawProxy

from bridge.core.errors import ProtocolError, Unavailable

NOT_FOUND = -5
WALLET_EXISTS = -4
WALLET_MISSING = -18
WALLET_LOADED = -35
METHOD_UNKNOWN = -32601


class NotFound(Unavailable):
    """The node answered that it knows no such thing."""


class WalletMissing(Unavailable):
    """The node has not loaded the wallet that was asked."""


class Node:
    """One node at `url` (http, loopback or a private network). Threads may share it: each call has its own connection,
    because the proxy's is not made for threads and dies with a node's restart.
    """

    def __init__(self, *, url: str, user: str, password: str | Callable[[], str], timeout_seconds: float):
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise ValueError("the node's URL must be http://host:port without a login")
        self.host, self._port = parts.hostname, parts.port or 8332
        self._user = user
        self._password = password if callable(password) else lambda: password
        self._timeout_seconds = timeout_seconds

    def call(self, method: str, *arguments: Any, path: str = "", known: frozenset[int] = frozenset()) -> Any:
        """The result of one call; None when the node refuses with a code in `known`.

        Raises Unavailable, of which NotFound and WalletMissing are kinds, or ProtocolError for an answer without shape.
        """
        started = time.monotonic()
        try:
            return getattr(self._proxy(path), method)(*arguments)
        except JSONRPCError as error:
            code = error.error.get("code")
            if code in known:
                return None
            kind = {NOT_FOUND: NotFound, WALLET_MISSING: WalletMissing}.get(code, Unavailable)
            raise kind("chain_unavailable", f"The node refused {method} (code {code}).") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            spent = round(time.monotonic() - started, 1)
            why = f"{type(error).__name__} after {spent} s"
            raise Unavailable("chain_unreachable", f"The node did not answer {method}: {why}.") from None
        except (AttributeError, KeyError, TypeError):
            # The proxy takes for granted that an answer is an object.
            raise unreadable(method) from None

    def ask(self, method: str, *arguments: Any, path: str = "", known: frozenset[int] = frozenset()) -> dict[str, Any]:
        """Like `call`, for methods that answer with an object."""
        result = self.call(method, *arguments, path=path, known=known)
        if not isinstance(result, dict):
            raise unreadable(method)
        return result

    def _proxy(self, path: str) -> RawProxy:
        login = base64.b64encode(f"{self._user}:{self._password()}".encode()).decode()
        connection = _LoginConnection(self.host, self._port, timeout=self._timeout_seconds)
        connection.authorization = f"Basic {login}"
        return RawProxy(service_url=f"http://{self.host}:{self._port}{path}", connection=connection)


def unreadable(method: str) -> ProtocolError:
    """The error for an answer of another shape."""
    return ProtocolError("chain_unreadable", f"The node's answer to {method} does not have the expected shape.")


class _LoginConnection(http.client.HTTPConnection):
    """Carries the login beside the URL: the proxy would take it from the URL, which ends up in errors."""

    authorization = ""

    def request(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        super().request(method, url or "/", body, {**(headers or {}), "Authorization": self.authorization})
