"""The people of a shop and their daily moves on payouts, over a real bridge and the real sandbox gateway.

Owns names and short words; must not copy a rule of the bridge.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import requests

from bridge.desk.resolve_review import approve_mark, list_reviews, reject_mark, resolve, show_review
from bridge.payouts.decide_payout import approve_payout, reject_payout, show_payout
from bridge.payouts.outcome import confirm_payouts
from bridge.payouts.refunds import NewRefund, request_refund
from bridge.payouts.send_payouts import send_payouts
from bridge.payouts.sweep import record_funding
from bridge.store import ledger, operators
from tests.flows.world import WALLET, World

FLOAT_SAT = 200_000
STAFF = {"root": "admin", "fay": "finance", "sam": "support", "ann": "approver", "bob": "approver", "vic": "viewer"}
# Made-up test addresses of people outside: P2WPKH, P2TR and a cold P2WSH, all with valid checksums.
PAYER = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
TAPROOT = "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c"
COLD = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"


@dataclass(kw_only=True)
class Desk:
    """Everybody at one bridge."""

    world: World
    keys: Any = field(default_factory=lambda: itertools.count(1))

    def fund(self, sat: int, *, role: str = "hot") -> None:
        """The operator puts money of their own into a wallet, and says so."""
        address = self.world.bridge.senders[role].sends.create_inbox(expected_sat=sat)
        txid = self.world.control("pay", address=address, amount_sat=sat)["txid"]
        self.world.mine()
        record_funding(self.world.bridge, role=role, sat=sat, txid=txid, actor="fay", reason="float")

    def settled(self, billing_payment_id: str = "7", *, sat: int | None = None, text: str = "100.00") -> dict[str, Any]:
        """An invoice that was paid and is final; `sat` instead of what is due."""
        invoice = self.world.open(billing_payment_id, amount_text=text)
        self.world.pay(invoice, sat)
        self.world.mine(6)
        self.world.look(invoice)
        return self.world.invoice(invoice)

    def ask(self, invoice: dict[str, Any], variant: str = "paid_sat", **wanted: Any) -> dict[str, Any]:
        """Fay proposes a refund."""
        key, actor = wanted.pop("key", f"k{next(self.keys)}"), wanted.pop("actor", "fay")
        request = NewRefund(invoice_id=invoice["id"], variant=variant, **{"destination": PAYER} | wanted)
        return request_refund(
            self.world.bridge, merchant_id=None, request=request, key=key, actor=actor, reason="the client asked"
        ).payout

    def approve(self, payout: dict[str, Any], actor: str = "ann") -> dict[str, Any]:
        return approve_payout(self.world.bridge, payout["id"], actor=actor, reason="checked")

    def reject(self, payout: dict[str, Any], actor: str = "ann") -> dict[str, Any]:
        return reject_payout(self.world.bridge, payout["id"], actor=actor, reason="a mistake")

    def approved(self, invoice: dict[str, Any], variant: str = "paid_sat", **wanted: Any) -> dict[str, Any]:
        return self.approve(self.ask(invoice, variant, **wanted))

    def send(self, *, owner: str = "w1", after_seconds: int = 0) -> int:
        """The worker's look for payouts, when the cooling time is over."""
        self.world.advance(after_seconds or self.world.bridge.payouts.cooling_seconds + 61)
        return send_payouts(self.world.bridge, owner=owner)

    def confirm(self, blocks: int = 6) -> None:
        self.world.mine(blocks)
        self.world.advance(61)
        confirm_payouts(self.world.bridge)

    def now(self, payout: dict[str, Any]) -> dict[str, Any]:
        return show_payout(self.world.bridge, payout["id"])

    def rule(self, decision: str, *, kind: str = "outcome_unknown", actor: str = "fay", txid: str = "") -> None:
        """A person rules on the one open item of a kind."""
        (item,) = list_reviews(self.world.bridge, match={"state": "open", "kind": kind}, limit=10)
        resolve(self.world.bridge, item["id"], decision=decision, actor=actor, reason="looked at it", txid=txid)

    def arrived(self, address: str = PAYER) -> list[int]:
        """What an outsider sees on the chain: every output that pays an address, in satoshi."""
        url = f"{self.world.sandbox.url}/esplora/address/{address}/txs"
        seen = requests.get(url, timeout=10).json()
        return [o["value"] for tx in seen for o in tx["vout"] if o["scriptpubkey_address"] == address]

    def gateway_sat(self) -> int:
        """The gateway's own word about the hot wallet."""
        return self.world.wallet.balance().confirmed_sat

    def books(self) -> dict[str, int]:
        """Signed satoshi by account over everything; every journal must balance."""
        with self.world.bridge.store.read() as tx:
            totals = ledger.totals(tx)
        for asset in {asset for _, asset in totals}:
            assert sum(units for (_, each), units in totals.items() if each == asset) == 0
        return {account: units for (account, asset), units in totals.items() if asset == "BTC" and units}


@dataclass(kw_only=True)
class PartPaid:
    """An invoice of which only a part came, and the open question about it."""

    desk: Desk
    invoice: dict[str, Any]
    review_id: str
    sat: int

    def rule(self, decision: str, actor: str) -> dict[str, Any]:
        return resolve(self.desk.world.bridge, self.review_id, decision=decision, actor=actor, reason="looked")

    def item(self) -> dict[str, Any]:
        return show_review(self.desk.world.bridge, self.review_id)

    def mark(self) -> dict[str, Any]:
        """The newest manual mark of the question."""
        return dict(self.item()["marks"][0])

    def approve(self, actor: str) -> dict[str, Any]:
        return approve_mark(self.desk.world.bridge, self.mark()["id"], actor=actor, reason="checked")

    def reject(self, actor: str) -> dict[str, Any]:
        return reject_mark(self.desk.world.bridge, self.mark()["id"], actor=actor, reason="a mistake")


def part_paid(desk: Desk, sat: int = 90_000) -> PartPaid:
    """Part of USD 100.00 arrives, and nothing more until long after the end."""
    invoice = desk.world.open("7", amount_text="100.00")
    desk.world.pay(invoice, sat)
    desk.world.mine(6)
    desk.world.look(invoice)
    desk.world.advance(9 * 86_400)
    desk.world.look(invoice)
    (item,) = list_reviews(desk.world.bridge, match={"state": "open", "kind": "partial"}, limit=5)
    return PartPaid(desk=desk, invoice=invoice, review_id=item["id"], sat=sat)


def staffed(world: World) -> Desk:
    """A desk with its people and a float of FLOAT_SAT in the hot wallet, from which the fees of refunds are paid."""
    desk = hired(world)
    desk.fund(FLOAT_SAT)
    return desk


def hired(world: World) -> Desk:
    """A desk with its people alone. Nobody logs in here, so that nobody needs the slow hash of a real password."""
    now = world.bridge.clock()
    with world.bridge.store.write() as tx:
        for name, role in STAFF.items():
            values = {"name": name, "role": role, "is_active": True, "password_hash": "", "totp_nonce": ""}
            operators.add(tx, values | {"created_at": now, "created_by": "setup"})
    return Desk(world=world)


def settings(**changes: Any) -> dict[str, Any]:
    """Settings under which one person approves up to 1,000,000 satoshi and nothing needs to lie in the hot wallet."""
    treasury = {"refund_float_sat": 0, "cold_addresses": [COLD], "sweep_above_sat": 100_000}
    return {"treasury": treasury | changes.pop("treasury", {}), "payouts": changes.pop("payouts", {})} | changes


__all__ = [
    "COLD", "FLOAT_SAT", "PAYER", "STAFF", "TAPROOT", "WALLET", "Desk", "PartPaid", "part_paid", "settings", "staffed",
]  # fmt: skip
