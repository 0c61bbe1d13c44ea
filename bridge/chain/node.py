"""JSON-RPC to the operator's own node, through python-bitcoinlib's raw proxy.

Owns the login, the connection and the sorting of its failures; must not know addresses or wallets.
"""

import base64
import http.client
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from bitcoin.rpc import JSONRPCError, RawProxy

from bridge.core.errors import ProtocolError, Unavailable

MISCELLANEOUS = -1
WALLET_REFUSES = -4
NOT_FOUND = -5
WALLET_MISSING = -18
STARTING = -28
WALLET_LOADED = -35
METHOD_UNKNOWN = -32601
# The proxy's own, for an answer that is no JSON.
_NO_JSON = -342


class NotFound(Unavailable):
    """The node answered that it knows no such thing."""


class WalletMissing(Unavailable):
    """The node has not loaded the wallet that was asked."""


class TooSlow(Unavailable):
    """The node took the call but did not answer in time: it may still be at work on it."""


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
        self.timeout_seconds = timeout_seconds

    def call(self, method: str, *arguments: Any, path: str = "", known: frozenset[int] = frozenset()) -> Any:
        """The result of one call; None when the node refuses with a code in `known`.

        Raises Unavailable, of which NotFound, WalletMissing and TooSlow are kinds, or ProtocolError for an answer without
        shape.
        """
        started = time.monotonic()
        connection = self._connection()
        try:
            proxy = RawProxy(service_url=f"http://{self.host}:{self._port}{path}", connection=connection)
            return getattr(proxy, method)(*arguments)
        except JSONRPCError as error:
            told = error.error["code"]
            code = told if type(told) is int else None
            if code in known:
                return None
            raise _refusal(method, code, connection.status) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            spent = round(time.monotonic() - started, 1)
            why = f"{type(error).__name__} after {spent} s"
            kind = TooSlow if isinstance(error, TimeoutError) else Unavailable
            raise kind("chain_unreachable", f"The node did not answer {method}: {why}.") from None
        except (AttributeError, KeyError, TypeError):
            # The proxy takes for granted that an answer is an object.
            raise unreadable(method) from None
        finally:
            # The proxy closes it when it is collected: that is never, while somebody keeps the error.
            connection.close()

    def ask(self, method: str, *arguments: Any, path: str = "", known: frozenset[int] = frozenset()) -> dict[str, Any]:
        """Like `call`, for methods that answer with an object."""
        result = self.call(method, *arguments, path=path, known=known)
        if not isinstance(result, dict):
            raise unreadable(method)
        return result

    def _connection(self) -> "_LoginConnection":
        login = base64.b64encode(f"{self._user}:{self._password()}".encode()).decode()
        connection = _LoginConnection(self.host, self._port, timeout=self.timeout_seconds)
        connection.authorization = f"Basic {login}"
        return connection


def unreadable(method: str) -> ProtocolError:
    """The error for an answer of another shape."""
    return ProtocolError("chain_unreadable", f"The node's answer to {method} does not have the expected shape.")


# What a refusal means, by its HTTP status or else by its code, and what to do about it; never in the node's own words.
_BY_STATUS: Mapping[int | None, tuple[str, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        "chain_login_wrong",
        "The node refuses the login (HTTP 401): chain.core_rpc.user and chain.core_rpc.password must be those of "
        "rpcauth, or of rpcuser and rpcpassword, in the node's bitcoin.conf.",
    ),
    HTTPStatus.FORBIDDEN: (
        "chain_not_allowed",
        "The node does not allow {method} from here (HTTP 403): add this machine's address to rpcallowip in the "
        "node's bitcoin.conf, or the method to rpcwhitelist if there is one.",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "chain_busy",
        "The node has more calls than it can take, or is stopping (HTTP 503); it is asked again. If this stays, raise "
        "rpcworkqueue and rpcthreads in the node's bitcoin.conf.",
    ),
}
_BY_CODE: Mapping[int | None, tuple[str, str]] = {
    STARTING: ("chain_starting", "The node is starting and cannot answer yet; it is asked again."),
    _NO_JSON: (
        "chain_unavailable",
        "Something that is no node answered {method} with HTTP {status}: chain.core_rpc.url must name the node's RPC port.",
    ),
}
_OTHER = ("chain_unavailable", "The node refused {method} (code {code}).")
_KINDS: Mapping[int | None, type[Unavailable]] = {NOT_FOUND: NotFound, WALLET_MISSING: WalletMissing}


def _refusal(method: str, code: int | None, status: int | None) -> Unavailable:
    meaning, detail = _BY_STATUS.get(status) or _BY_CODE.get(code) or _OTHER
    return _KINDS.get(code, Unavailable)(meaning, detail.format(method=method, code=code, status=status))


class _LoginConnection(http.client.HTTPConnection):
    """Carries the login beside the URL, which ends up in errors, and remembers the status, which the proxy drops."""

    authorization = ""
    status: int | None = None

    def request(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        super().request(method, url or "/", body, {**(headers or {}), "Authorization": self.authorization})

    def getresponse(self) -> http.client.HTTPResponse:
        response = super().getresponse()
        self.status = response.status
        return response
