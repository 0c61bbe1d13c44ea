"""An emulated LNbits and the network behind its node: wallets, invoices, what payers outside pay, what it pays to others.

Must not speak HTTP. Modelled on LNbits 1.6.2 with its fake wallet as it was seen to behave; what a real node behind it would do
besides (held payments, the ends and costs of sends) is our own choice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox import bolt11
from sandbox.callbacks import Delivery

if TYPE_CHECKING:
    from sandbox.world import World

PENDING, SUCCESS, FAILED = "pending", "success", "failed"
MSAT = 1_000
MOST_SAT = 10_000_000
DEFAULT_EXPIRY_S = 3_600
# The same on every start, because settings may name the node that it makes.
NODE_KEY = int.from_bytes(b"key of the sandbox's own node", "big")


class LnbitsError(Exception):
    """A refusal as LNbits words it; `state` stands beside the words where it calls a payment failed or pending."""

    def __init__(self, http: int, detail: str, state: str | None = None) -> None:
        super().__init__(detail)
        self.http, self.detail, self.state = http, detail, state


@dataclass(kw_only=True, slots=True)
class LnWallet:
    wallet_id: str
    name: str
    admin_key: str
    invoice_key: str


@dataclass(kw_only=True, slots=True, eq=False)
class LnPayment:
    """One row of LNbits: what came is positive, what leaves negative. `held` money waits at the node and counts nowhere."""

    wallet_id: str
    payment_hash: str
    preimage: str
    amount_msat: int
    bolt11: str
    memo: str
    made_at: float
    updated_at: float
    expires_at: float
    fee_msat: int = 0
    status: str = PENDING
    held: bool = False
    webhook: str | None = None
    external_id: str | None = None
    labels: list[str] = field(default_factory=list)
    rung: list[Delivery] = field(default_factory=list)

    @property
    def is_incoming(self) -> bool:
        return self.amount_msat > 0

    def as_dict(self) -> dict[str, Any]:
        """As its API shows it. Sums are in millisatoshi."""
        return {
            "checking_id": self.payment_hash,
            "payment_hash": self.payment_hash,
            "wallet_id": self.wallet_id,
            "amount": self.amount_msat,
            "fee": self.fee_msat,
            "bolt11": self.bolt11,
            "payment_request": self.bolt11,
            "fiat_provider": None,
            "status": self.status,
            "memo": self.memo,
            "expiry": _time(self.expires_at),
            "webhook": self.webhook,
            "webhook_status": _webhook_status(self.rung),
            "preimage": self.preimage,
            "tag": None,
            "extension": None,
            "time": _time(self.made_at),
            "created_at": _time(self.made_at),
            "updated_at": _time(self.updated_at),
            "labels": list(self.labels),
            "extra": {},
            "external_id": self.external_id,
        }


class Lightning:
    """The server's wallets and payments. Callers hold the world's lock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.wallets: dict[str, LnWallet] = {}
        self.payments: list[LnPayment] = []
        self._outside_key = world.rng.getrandbits(200) + 1
        # The invoices of payees outside, by hash: their text and preimage.
        self._outside: dict[str, tuple[str, int]] = {}

    def create_wallet(self, name: str, keys: tuple[str, str, str] | None = None) -> LnWallet:
        """A wallet with new keys, or with this id, invoice key and admin key."""
        made = keys or (self._hex(), self._hex(), self._hex())
        wallet = LnWallet(wallet_id=made[0], name=name, invoice_key=made[1], admin_key=made[2])
        self.wallets[wallet.wallet_id] = wallet
        return wallet

    def wallet_of(self, key: str) -> LnWallet | None:
        """The wallet that one of its keys opens."""
        return next((w for w in self.wallets.values() if key in (w.admin_key, w.invoice_key)), None)

    def balance_msat(self, wallet: LnWallet) -> int:
        """What came for good, less what left or is leaving, with what that cost."""
        own = [p for p in self.payments if p.wallet_id == wallet.wallet_id]
        came = sum(p.amount_msat for p in own if p.is_incoming and p.status == SUCCESS)
        left = sum(p.amount_msat + p.fee_msat for p in own if not p.is_incoming and p.status != FAILED)
        return came + left

    def create(self, wallet: LnWallet, asked: dict[str, Any], change: dict[str, Any] | None = None) -> LnPayment:
        """An invoice. Fractions of a satoshi are cut off; a second for the same external id is a second. `change` is of faults."""
        sat, expiry_s = int(asked.get("amount") or 0), int(asked.get("expiry") or DEFAULT_EXPIRY_S)
        if not sat:
            raise LnbitsError(520, "Amountless invoices not supported.", FAILED)
        if sat > MOST_SAT:
            raise LnbitsError(520, f"Invoice amount {sat} sats is too high. Max allowed: {MOST_SAT} sats.", FAILED)
        now, preimage = self._world.clock.now(), self._world.rng.randbytes(32)
        says: dict[str, Any] = {
            "prefix": self._world.knobs.ln_prefix or bolt11.PREFIXES[self._world.net],
            "payment_hash": bolt11.hash_of(preimage),
            "made_at": int(now),
            "amount_msat": sat * MSAT,
            "expiry_s": expiry_s,
            "memo": str(asked.get("memo") or "LNbits"),
            "secret": self._world.rng.randbytes(32),
        }
        payment = LnPayment(
            wallet_id=wallet.wallet_id,
            payment_hash=says["payment_hash"],
            preimage=preimage.hex(),
            amount_msat=sat * MSAT,
            bolt11=bolt11.write(bolt11.Asked(**says | (change or {})), private_key=NODE_KEY),
            memo=says["memo"],
            made_at=now,
            updated_at=now,
            expires_at=int(now) + expiry_s,
            webhook=asked.get("webhook"),
            external_id=asked.get("external_id"),
        )
        self.payments.append(payment)
        return payment

    def listed(self, wallet: LnWallet, match: dict[str, str], limit: int) -> list[LnPayment]:
        """The newest first; what failed is not listed."""
        own = [p for p in reversed(self.payments) if p.wallet_id == wallet.wallet_id and p.status != FAILED]
        return [p for p in own if all(str(getattr(p, name)) == value for name, value in match.items())][:limit]

    def find(self, wallet: LnWallet | None, payment_hash: str) -> LnPayment | None:
        """Of two with one hash, the one that leaves. One whose time is over is given up by being looked at."""
        own = [p for p in self.payments if p.payment_hash == payment_hash]
        own = [p for p in own if wallet is None or p.wallet_id == wallet.wallet_id]
        found = min(own, key=lambda p: p.amount_msat, default=None)
        if found is not None and self._has_run_out(found):
            self._turn(found, FAILED)
            found.labels.append("expired")
        return found

    def _has_run_out(self, payment: LnPayment) -> bool:
        is_waiting = payment.is_incoming and payment.status == PENDING and not payment.held
        return is_waiting and self._world.clock.now() > payment.expires_at

    def pay(self, text: str, msat: int | None = None) -> LnPayment:
        """Somebody outside pays an invoice of a wallet here, as much as it asks for or so much. Raises ValueError when that fails."""
        payment = self.incoming(bolt11.payment_hash_of(text))
        if payment.status != PENDING or payment.held:
            raise ValueError(f"this invoice is {'held' if payment.held else payment.status}")
        if self._world.clock.now() > payment.expires_at and self._world.knobs.ln_late == "refuse":
            raise ValueError("this invoice has expired")
        payment.amount_msat = msat or payment.amount_msat
        if self._world.knobs.ln_hold:
            payment.held = True
        else:
            self._came(payment)
        return payment

    def settle(self, payment_hash: str) -> LnPayment:
        """What was held is received."""
        return self._held(payment_hash, lambda payment: self._came(payment))

    def cancel(self, payment_hash: str) -> LnPayment:
        """What was held goes back."""
        return self._held(payment_hash, lambda payment: self._turn(payment, FAILED))

    def incoming(self, payment_hash: str) -> LnPayment:
        """Raises ValueError for what no wallet here asked for."""
        for payment in self.payments:
            if payment.payment_hash == payment_hash and payment.is_incoming:
                return payment
        raise ValueError("no such invoice here")

    def restart(self, says: str) -> None:
        """The server starts anew and its node knows the invoices that wait no more: they have failed, or are gone."""
        for payment in [p for p in self.payments if p.status == PENDING and p.is_incoming]:
            if says == "forgotten":
                self.payments.remove(payment)
            else:
                self._turn(payment, FAILED)

    def payee(self, sat: int, *, expiry_s: int = DEFAULT_EXPIRY_S, **says: Any) -> str:
        """An invoice of somebody outside, for sends."""
        preimage = self._world.rng.randbytes(32)
        prefix = self._world.knobs.ln_prefix or bolt11.PREFIXES[self._world.net]
        made: dict[str, Any] = {"prefix": prefix, "made_at": int(self._world.clock.now()), "memo": "refund"}
        made |= {"payment_hash": bolt11.hash_of(preimage), "amount_msat": sat * MSAT, "expiry_s": expiry_s}
        asked = bolt11.Asked(**made | says)
        text = bolt11.write(asked, private_key=self._outside_key)
        self._outside[asked.payment_hash] = (preimage.hex(), asked.amount_msat or 0)
        return text

    def send(self, wallet: LnWallet, text: str, external_id: str | None) -> LnPayment:
        """Pays an invoice of somebody outside, each once."""
        try:
            payment_hash = bolt11.payment_hash_of(text)
        except ValueError:
            raise LnbitsError(520, "Bolt11 decoding failed.", FAILED) from None
        preimage, msat = self._outside.get(payment_hash, ("", 0))
        knobs, now = self._world.knobs, self._world.clock.now()
        before = [p for p in self.payments if p.payment_hash == payment_hash and not p.is_incoming]
        if any(p.status != FAILED for p in before):
            raise LnbitsError(520, "Payment already paid.", FAILED)
        if not msat:
            raise LnbitsError(520, "Payment failed: no route.", FAILED)
        if self.balance_msat(wallet) < msat + max(knobs.ln_fee_msat, msat // 100):
            raise LnbitsError(520, "Insufficient balance.", FAILED)
        self.payments = [p for p in self.payments if p not in before]
        payment = LnPayment(
            wallet_id=wallet.wallet_id,
            payment_hash=payment_hash,
            preimage=preimage,
            amount_msat=-msat,
            fee_msat=-knobs.ln_fee_msat,
            bolt11=text,
            memo="refund",
            made_at=now,
            updated_at=now,
            expires_at=now + DEFAULT_EXPIRY_S,
            status=knobs.ln_sends,
            external_id=external_id,
        )
        self.payments.append(payment)
        if payment.status == FAILED:
            raise LnbitsError(520, "Payment failed: no route.", FAILED)
        return payment

    def end_sends(self, status: str) -> None:
        """What was on its way arrives, or comes back."""
        for payment in self.payments:
            if payment.status == PENDING and not payment.is_incoming:
                self._turn(payment, status)

    def _came(self, payment: LnPayment) -> None:
        payment.held = False
        self._turn(payment, SUCCESS)
        if payment.webhook:
            # JSON in JSON, nothing signed; one try.
            body = json.dumps(json.dumps(payment.as_dict())).encode()
            faults = self._world.faults.take("ln_webhook")
            if any(fault.kind == "not_json" for fault in faults):
                body = b"<html>paid</html>"
            copies = self._world.knobs.ln_rings
            payment.rung = self._world.callbacks.ring(payment.webhook, body, faults, copies=copies, tries=1)

    def _held(self, payment_hash: str, end: Callable[[LnPayment], None]) -> LnPayment:
        payment = self.incoming(payment_hash)
        if not payment.held:
            raise ValueError("this payment is not held")
        payment.held = False
        end(payment)
        return payment

    def _turn(self, payment: LnPayment, status: str) -> None:
        payment.status, payment.updated_at = status, self._world.clock.now()

    def _hex(self) -> str:
        return self._world.rng.randbytes(16).hex()


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _webhook_status(rung: list[Delivery]) -> str | None:
    tried = [attempt for delivery in rung for attempt in delivery.attempts]
    return str(tried[-1].get("status", -1)) if tried else None
