"""The gateway's modes: one function per `mode` that takes a call and gives the `result` of the success envelope.

Must not build envelopes, status codes or faults; a refusal is a GatewayError. Shapes follow SUBTC contract section 5;
`wallet_list`, argument checks and the handling of a missing `net` are our own choices (section 10, EMU).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sandbox.gateway import Account, GatewayError, Wallet
from sandbox.world import World

DEFAULT_WAIT_S, MAX_WAIT_S = 300, 600
MAX_SAT = 2_100_000_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One authenticated call: whose key, which body, which idempotency key."""

    account: Account
    body: dict[str, Any]
    idempotency_key: str | None = None

    def text(self, name: str) -> str:
        """A required text member."""
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise GatewayError("BAD_REQUEST", f"{name} required")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        """A required positive integer member, or `default`."""
        value = self.body.get(name, default)
        if type(value) is not int or not 1 <= value <= MAX_SAT:
            raise GatewayError("BAD_REQUEST", f"{name} must be a positive integer")
        return value

    def wallet(self) -> Wallet:
        return self.account.wallet(self.text("wallet_id"))


class Cut(Exception):
    """The connection ends without an answer."""


def key_status(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.3; it echoes the full key, as the real one does."""
    return {"key": request.account.key, "wallet_count": len(request.account.wallets)}


def wallet_create(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.4. A sandbox serves one net; a regtest one also answers to `test`."""
    net = request.body.get("net", world.net)
    if net != world.net and (net, world.net) != ("test", "regtest"):
        raise GatewayError("BAD_REQUEST", f"this gateway has net {world.net} only")
    wallet = world.gateway.create_wallet(request.account, net=net, version=world.knobs.gateway_version)
    return {"coin": "btc", "net": wallet.net, "wallet_id": wallet.wallet_id}


def wallet_list(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.5: no example exists, the shape is EMU."""
    wallets = request.account.wallets.values()
    return {"wallets": [{"coin": "btc", "net": w.net, "wallet_id": w.wallet_id} for w in wallets]}


def wallet_receive(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.6; fresh on every call unless the knob `receive` is sticky."""
    wallet = request.wallet()
    is_sticky = world.knobs.receive == "sticky" and bool(wallet.received_on)
    address = wallet.received_on[0] if is_sticky else world.gateway.mint(wallet, inbox=False)
    return {**_named(wallet), "address": address, "addresses": wallet.addresses}


def inbox_create(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.7; always a new dedicated address."""
    wallet, expected_sat = request.wallet(), request.whole("expected_sat")
    address = world.gateway.mint(wallet, inbox=True)
    return {**_named(wallet), "address": address, "expected_sat": expected_sat}


def wallet_balance(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.8; whole wallet, `balance_sat` counts unconfirmed money."""
    wallet = request.wallet()
    confirmed, unconfirmed = world.gateway.balance(wallet)
    return {
        **_named(wallet),
        "addresses": wallet.addresses,
        "balance_sat": confirmed + unconfirmed,
        "balance_source": "getbalances",
        "confirmed_sat": confirmed,
        "immature_sat": world.gateway.immature_sat(wallet),
        "unconfirmed_sat": unconfirmed,
    }


def wallet_poll(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.10; `received_sat` is cumulative and counts what has `min_conf` confirmations."""
    wallet, address, expected_sat = _watched(world, request)
    received_sat = world.chain.received_sat(address, min_conf=world.knobs.min_conf)
    return {
        **_named(wallet),
        "address": address,
        "expected_sat": expected_sat,
        "reached": received_sat >= expected_sat,
        "received_sat": received_sat,
    }


def wallet_wait_event(world: World, request: Request) -> dict[str, Any]:
    """Contract 5.11: with `callback_url` a watch, else the call blocks until reached or timeout."""
    wallet, address, expected_sat = _watched(world, request)
    seconds = request.whole("timeout_sec", DEFAULT_WAIT_S)
    if seconds > MAX_WAIT_S and world.knobs.wait_over_max == "reject":
        raise GatewayError("BAD_REQUEST", f"timeout_sec over {MAX_WAIT_S}")
    seconds = min(seconds, MAX_WAIT_S)
    if "callback_url" not in request.body:
        return _blocking_wait(world, wallet, address, expected_sat, seconds)
    url = request.text("callback_url")
    if urlsplit(url).scheme not in ("http", "https"):
        raise GatewayError("BAD_REQUEST", "callback_url must be http or https")
    world.callbacks.watch(
        wallet_id=wallet.wallet_id, net=wallet.net, address=address, expected_sat=expected_sat, url=url, seconds=seconds
    )
    return {
        "address": address,
        "callback_url": url,
        "expected_sat": expected_sat,
        "status": "watching",
        "wallet_id": wallet.wallet_id,
    }


def _blocking_wait(world: World, wallet: Wallet, address: str, expected_sat: int, seconds: int) -> dict[str, Any]:
    """Waits on the shared condition, which gives the lock away; the sandbox clock decides when it is over."""
    ends_at = world.clock.now() + seconds
    while True:
        received_sat = world.chain.received_sat(address, min_conf=world.knobs.min_conf)
        reached = received_sat >= expected_sat
        left = ends_at - world.clock.now()
        if reached or left <= 0 or world.stopping.is_set():
            break
        world.changed.wait(left)
    if not reached and world.knobs.wait_timeout_form == "error":
        raise GatewayError("TIMEOUT", "not reached in time")
    if not reached and world.knobs.wait_timeout_form == "cut":
        raise Cut
    status = "confirmed" if reached else "timeout"
    return {
        **_named(wallet),
        "address": address,
        "expected_sat": expected_sat,
        "received_sat": received_sat,
        "status": status,
    }


def _watched(world: World, request: Request) -> tuple[Wallet, str, int]:
    wallet, address = request.wallet(), request.text("address")
    if world.gateway.owner_of.get(address) is not wallet:
        raise GatewayError("ADDRESS_NOT_FOUND", "no such address in this wallet")
    return wallet, address, request.whole("expected_sat")


def _named(wallet: Wallet) -> dict[str, Any]:
    return {"coin": "btc", "net": wallet.net, "wallet_id": wallet.wallet_id}


Mode = Callable[[World, Request], dict[str, Any]]
