"""The SUBTC gateway as a wallet: addresses, polls, balance, watches and sends over its HTTP API.

Owns the calls and what their failures mean for us; must not decide about an invoice, nor let the key out in any text.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from bridge.core.addresses import check_payable, check_wallet_net
from bridge.core.errors import ProtocolError, Refused
from bridge.core.evidence import Health, ProviderReading, Sent, WalletBalance
from bridge.core.money import MAX_MONEY_SAT
from bridge.outbound import CallFailed, Guard, Limits, Outbound, Reply, is_loopback
from bridge.rails.subtc import wire

MAX_WATCH_SECONDS = 600
# These answers list every address that the wallet ever gave out (contract 5.6, 5.8), nearly 50 bytes each.
_LONG_ANSWERS = dict.fromkeys(("wallet_balance", "wallet_receive"), 32 * 1024 * 1024)
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,200}")


class SubtcReader:
    """What one wallet at one gateway received and holds: it can neither give an address nor send. Threads may share it.

    `key` is the text or a function that gives it on each call. How the calls of a whole wallet are written: `destination_field` is `to`
    (V4.2) or `to_address` (V6.1), contract 9.1; `address_mode` is `inbox_create` or `wallet_receive`.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str | Callable[[], str] = "",
        network: str,
        wallet_id: str = "",
        limits: Limits | None = None,
        outbound: Outbound | None = None,
        destination_field: str = "to",
        address_mode: str = "inbox_create",
    ):
        self._base_url = base_url.rstrip("/")
        self._destination_field, self._address_mode = destination_field, address_mode
        self._key = key if callable(key) else lambda: key
        self._network = network
        self._net = "main" if network == "main" else "test"
        self._wallet_id = wallet_id
        host = urlsplit(base_url).hostname or ""
        # An operator wrote this host, so it may be private; it still has to speak https unless it is this machine.
        self._outbound = outbound or Outbound(limits=limits or Limits(), guard=Guard(allow_hosts=frozenset({host})))
        Guard(allow_loopback=is_loopback(host)).check_url(base_url)
        if wallet_id:
            check_wallet_net(wallet_id, network)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url}, {self._network}, wallet {self._wallet_id[:8]}…, key redacted)"

    def poll(self, *, address: str, expected_sat: int, asked_at: datetime) -> ProviderReading:
        """What the address received so far, possibly unconfirmed (contract 5.10, 8.1).

        Raises Unavailable, Refused or ProtocolError.
        """
        body = {"wallet_id": self._wallet_id, "address": address, "expected_sat": _positive_sat(expected_sat)}
        result, server_time = self._answer("wallet_poll", body)
        self._check_echo(result, body)
        received_sat, reached = wire.received(result, expected_sat=expected_sat)
        return ProviderReading(
            address=address, received_sat=received_sat, reached=reached, asked_at=asked_at, server_time=server_time
        )

    def balance(self) -> WalletBalance:
        """The whole wallet (contract 5.8). Raises as `poll`."""
        body = {"wallet_id": self._wallet_id}
        result = self._read("wallet_balance", body)
        self._check_echo(result, body)
        return wire.wallet_balance(result)

    def watch(self, *, address: str, expected_sat: int, timeout_seconds: int, callback_url: str) -> None:
        """Ask for one callback within `timeout_seconds`, at most 600 (contract 5.11, 10): it only shortens a delay."""
        body = {
            "wallet_id": self._wallet_id,
            "address": address,
            "expected_sat": _positive_sat(expected_sat),
            "timeout_sec": max(1, min(timeout_seconds, MAX_WATCH_SECONDS)),
            "callback_url": callback_url,
        }
        self._check_echo(self._read("wallet_wait_event", body), body)

    def health(self) -> Health:
        """The gateway's state, fee and minimum (contract 5.1). Raises Unavailable or ProtocolError."""
        try:
            return wire.health(self._outbound.call("GET", f"{self._base_url}/health"), net=self._net)
        except CallFailed as failure:
            raise wire.failed_read(failure) from None

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()

    def _read(self, mode: str, body: dict[str, Any] | None, *, with_key: bool = True) -> wire.Result:
        """A call that may be repeated without harm."""
        return self._answer(mode, body, with_key=with_key)[0]

    def _answer(
        self, mode: str, body: dict[str, Any] | None, *, with_key: bool = True
    ) -> tuple[wire.Result, datetime | None]:
        """The same, with the gateway's clock."""
        try:
            reply = self._post(mode, body, {}, with_key=with_key)
        except CallFailed as failure:
            raise wire.failed_read(failure) from None
        answer = wire.envelope(reply)
        if isinstance(answer, wire.Refusal):
            raise wire.refused(answer)
        return answer, reply.date()

    def _post(self, mode: str, body: dict[str, Any] | None, extra: dict[str, str], *, with_key: bool = True) -> Reply:
        headers = {"Content-Type": "application/json", **extra}
        if with_key:
            headers["X-SUBTC-KEY"] = self._checked_key()
        content = b"" if body is None else json.dumps(body, sort_keys=True).encode()
        url = f"{self._base_url}/v1/btc?mode={mode}"
        return self._outbound.call("POST", url, headers=headers, body=content, max_bytes=_LONG_ANSWERS.get(mode))

    def _checked_key(self) -> str:
        key = self._key()
        if not _HEADER_TEXT.fullmatch(key):
            # The HTTP library would quote the whole value in its own error.
            raise Refused("bad_provider_key", "The SUBTC key is empty or holds characters no key has.", field="key")
        return key

    def _check_echo(self, result: wire.Result, body: dict[str, Any]) -> None:
        asked = {
            member: body[member]
            for member in ("wallet_id", "address", "expected_sat", "callback_url")
            if member in body
        }
        wire.check_echo(result, net=self._nets(), coin="btc", **asked)

    def _nets(self) -> tuple[str, ...]:
        # The gateway knows main and test only; an emulator on another test chain may name that chain.
        return (self._net, self._network)


class SubtcWallet(SubtcReader):
    """The same wallet with everything that its key may do."""

    def create_inbox(self, *, expected_sat: int) -> str:
        """A new address of this wallet, checked for checksum, network and echo (contract 5.7, 11.5).

        Raises Unavailable, Refused or ProtocolError. A repeat may leave an unused address behind: harmless.
        """
        body: dict[str, Any] = {"wallet_id": self._wallet_id}
        if self._address_mode == "inbox_create":
            body["expected_sat"] = _positive_sat(expected_sat)
        result = self._read(self._address_mode, body)
        self._check_echo(result, body)
        address = wire.text(result, "address")
        try:
            return check_payable(address, network=self._network).text
        except Refused as wrong:
            raise ProtocolError("provider_bad_address", f"SUBTC gave an unusable address: {wrong.detail}") from None

    def send(self, *, destination: str, gross_sat: int, idempotency_key: str) -> Sent:
        """Send `gross_sat` before the service fee (contract 5.9, 7, 11.4).

        Unavailable: nothing was sent, repeat with the same key. Refused: this call was refused, which says nothing
        about an earlier call with the same key. OutcomeUnknown: repeat with the same key only, then ask a person.
        """
        checked = check_payable(destination, network=self._network, field="destination")
        if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise Refused("bad_idempotency_key", "1 to 64 of A-Z a-z 0-9 _ -", field="idempotency_key")
        body = {
            "wallet_id": self._wallet_id,
            self._destination_field: checked.text,
            "amount_sat": _positive_sat(gross_sat),
        }
        try:
            reply = self._post("wallet_send", body, {"X-SUBTC-IDEMPOTENCY": idempotency_key})
        except CallFailed as failure:
            if failure.maybe_sent:
                raise wire.unknown_outcome(f"the call broke off ({failure.reason})") from None
            raise wire.failed_read(failure) from None
        echo = {"wallet_id": self._wallet_id, "net": self._nets(), "coin": "btc"}
        return wire.read_sent(reply, gross_sat=gross_sat, echo=echo)

    def create_key(self) -> str:
        """A new spending key (contract 5.2), for an operator's setup. The caller keeps it secret."""
        return wire.text(self._read("key_create", None, with_key=False), "key")

    def create_wallet(self) -> str:
        """A new wallet of this network under the current key (contract 5.4): its id."""
        result = self._read("wallet_create", {"net": self._net})
        wire.check_echo(result, net=self._nets(), coin="btc")
        wallet_id = wire.text(result, "wallet_id")
        try:
            check_wallet_net(wallet_id, self._network)
        except Refused as wrong:
            raise ProtocolError("provider_bad_wallet", f"SUBTC gave an unusable wallet: {wrong.detail}") from None
        return wallet_id

    def key_status(self) -> int | None:
        """How many wallets the key has, if the gateway says; proves that the key works (contract 5.3).

        The reply echoes the key, so nothing else of it leaves this function.
        """
        count = self._read("key_status", None).get("wallet_count")
        return count if type(count) is int and count >= 0 else None


def _positive_sat(value: int) -> int:
    if type(value) is not int or not 0 < value <= MAX_MONEY_SAT:
        raise Refused("invalid_satoshi", "Expected whole satoshi above zero.", field="amount_sat")
    return value
