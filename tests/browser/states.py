"""Every state of the pay page, brought about through the bridge's own doors: orders, money, time and rulings.

Owns the way to each state; must not write a row itself.
"""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bridge.core.errors import ProtocolError, Refused, Unavailable
from bridge.core.evidence import Screened
from bridge.core.policy import Policy, Rule
from bridge.desk.grant_grace import grant_grace
from bridge.desk.resolve_review import list_reviews, resolve
from bridge.payouts.refunds import NewRefund, ask_excess_back, request_refund, set_refund_address
from bridge.store.db import migrate
from bridge.web import Shop
from tests.builders import World, build_merchant, gateway_rail
from tests.fakes import START, FakeOutput
from tests.rails.toy import BoltNode, toy_rail
from tests.web.conftest import Site, build_site

DAY = 86_400
SHOP = Shop(
    name="Example Hosting",
    support_url="https://shop.example/support",
    explorer_url_template="https://explorer.example/tx/{txid}",
)
ORDER = {
    "amount": "1490.50",
    "currency": "RUB",
    "description": "VPS Start, 2 vCPU, 4 GB, web-eu-01.example.com, 1 month",
}
BIG = {"amount": "64000.00"}
HUGE = {"amount": "1600000.00"}

Invoice = dict[str, Any]
Make = Callable[[Site], Invoice]


class EverybodyIsListed:
    """A screening that lets nobody pass."""

    def version(self) -> str:
        return "1"

    def screen(self, _subject: object) -> Screened:
        return Screened(verdict="hit", matched="list", detail="example")


def open_one(site: Site, **changes: Any) -> Invoice:
    return site.open("100241", **ORDER | changes)


def paid(site: Site, *, share: int = 100, confirmations: int = 0, after: int = 0, **changes: Any) -> Invoice:
    """An invoice on which `share` percent came after so many seconds."""
    invoice = open_one(site, **changes)
    site.world.clock.advance(after)
    site.pay(invoice, invoice["quote"]["due_sat"] * share // 100, confirmations=confirmations)
    return invoice


def later(site: Site, invoice: Invoice, seconds: int) -> Invoice:
    site.world.clock.advance(seconds)
    site.look(invoice)
    return invoice


def output_of(site: Site) -> FakeOutput:
    return site.world.money.outputs[-1]


def vanished(site: Site, *, seconds: int = 60) -> Invoice:
    invoice = paid(site)
    output_of(site).gone = True
    return later(site, invoice, seconds)


def ruled(site: Site, invoice: Invoice, decision: str) -> Invoice:
    item = list_reviews(site.bridge, match={"state": "open"}, limit=1)[0]
    resolve(site.bridge, item["id"], decision=decision, actor="operator", reason="as agreed with the client")
    return invoice


def changed(site: Site, invoice: Invoice, change: str) -> Invoice:
    answer = site.api("POST", f"/v1/invoices/{invoice['id']}/billing-changes", {"change": change})
    assert answer.status_code == 200, answer.text
    site.look(invoice)
    return invoice


def disagreeing(site: Site) -> Invoice:
    invoice = paid(site, confirmations=1, share=60)
    site.world.wallet.reports_sat[invoice["address"]] = invoice["quote"]["due_sat"]
    later(site, invoice, 60)
    return later(site, invoice, 700)


def of_another_network(site: Site) -> Invoice:
    invoice = open_one(site)
    site.world.wallet.fails_with = ProtocolError("provider_other_answer", "another network", field="net")
    return later(site, invoice, 60)


def crowded(site: Site) -> Invoice:
    invoice = open_one(site)
    site.world.chain.fails_with = ProtocolError("chain_too_long", "too many transactions")
    return later(site, invoice, 60)


def not_searched(site: Site) -> Invoice:
    """Over, while no chain reader answers: nobody knows whether money came."""
    invoice = open_one(site)
    site.world.chain.fails_with = Unavailable("chain_unavailable", "no server answers")
    return later(site, invoice, DAY + 60)


def unreadable(site: Site) -> Invoice:
    invoice = paid(site)
    site.world.wallet.fails_with = Refused("provider_refused", "no such wallet under this key")
    return later(site, invoice, 700)


def reorganised(site: Site) -> Invoice:
    invoice = paid(site, confirmations=1)
    output_of(site).gone = True
    return later(site, invoice, 60)


def never_confirmed(site: Site) -> Invoice:
    return later(site, paid(site), 8 * DAY + 60)


def without_prices(site: Site) -> Invoice:
    """Lapsed, and the button will bring no price: the page for that is the answer to the button."""
    invoice = later(site, open_one(site), 901)
    site.world.rates.prices.clear()
    return invoice


def late_without_prices(site: Site) -> Invoice:
    invoice = open_one(site)
    site.world.clock.advance(DAY + 600)
    site.world.rates.prices.clear()
    site.pay(invoice, invoice["quote"]["due_sat"], confirmations=1)
    return invoice


STATES: dict[str, Make] = {
    "awaiting_payment": open_one,
    "quote_lapsed": lambda site: later(site, open_one(site), 901),
    "partial": lambda site: paid(site, share=37),
    "partial_lapsed": lambda site: later(site, paid(site, share=37), 901),
    "partial_expired": lambda site: _moved(site, later(site, paid(site, share=37, confirmations=1), DAY - 10), 70),
    "partial_held": lambda site: later(site, paid(site, share=37, confirmations=1), 8 * DAY + 60),
    "seen": paid,
    "confirming": lambda site: paid(site, confirmations=1, **BIG),
    "settled": lambda site: paid(site, confirmations=1),
    "overpaid": lambda site: paid(site, share=130, confirmations=1),
    "paid_late": lambda site: later(site, paid(site, share=120, confirmations=1, after=DAY + 600), 60),
    "marked_settled": lambda site: ruled(site, STATES["partial_held"](site), "mark_settled"),
    "expired": lambda site: later(site, open_one(site), DAY + 60),
    "closed": lambda site: later(site, open_one(site), 8 * DAY + 60),
    "late_checking": late_without_prices,
    "replaced": vanished,
    "replaced_over": lambda site: vanished(site, seconds=901),
    "reorged": reorganised,
    "failed_to_confirm": never_confirmed,
    "marked_invalid": lambda site: ruled(site, STATES["partial_held"](site), "mark_invalid"),
    "refund_due": lambda site: ruled(site, STATES["large_amount"](site), "refund"),
    "price_unavailable": without_prices,
    "large_amount": lambda site: paid(site, confirmations=6, **HUGE),
    "provider_only_limit": lambda site: paid(site, confirmations=1),
    "provider_disagrees": disagreeing,
    "billing_conflict": lambda site: changed(site, paid(site), "cancelled"),
    "billing_cancelled": lambda site: changed(site, open_one(site), "cancelled"),
    "suspicious_address": open_one,
    "wrong_network": of_another_network,
    "address_crowded": crowded,
    "evidence_missing": not_searched,
    "wallet_unread": unreadable,
    "late": lambda site: paid(site, confirmations=1, after=DAY + 7_300),
    "screening": lambda site: paid(site, confirmations=1),
}
# The same states seen while neither gateway nor chain answers.
BLIND: dict[str, Make] = {
    "blind_before_payment": lambda site: _moved(site, open_one(site), 600),
    "blind_after_payment": lambda site: _moved(site, paid(site), 1_800),
}


def given_time(site: Site, invoice: Invoice) -> Invoice:
    grant_grace(site.bridge, invoice["id"], actor="anna", reason="a client for years")
    return invoice


# The same states while an approver has given the payer time.
GIVEN: dict[str, Make] = {
    "given_time": lambda site: given_time(site, open_one(site)),
    "given_time_expired": lambda site: later(site, given_time(site, open_one(site)), 9 * DAY),
}


def refund_asked(site: Site, *, destination: str = "") -> Invoice:
    """The shop has asked for a refund; the payer's way in is the form's own link."""
    invoice = paid(site, confirmations=6, **BIG)
    request = NewRefund(invoice_id=invoice["id"], variant="paid_sat")
    asked = request_refund(
        site.bridge, merchant_id="shop", request=request, key="r1", actor="module:shop", reason="cancelled order"
    )
    assert asked.form_url is not None
    if destination:
        path, _, proof = asked.form_url.partition("/refund?proof=")
        set_refund_address(site.bridge, path.rpartition("/")[2], address=destination, proof=proof)
    return invoice | {"payment_url": asked.form_url}


LIGHTNING_TAB = "?way=lightning"


def node_of(site: Site) -> BoltNode:
    (rail,) = site.bridge.beside
    assert isinstance(rail.evidence, BoltNode)
    return rail.evidence


def with_lightning(site: Site, invoice: Invoice | None = None, *, tab: str = LIGHTNING_TAB) -> Invoice:
    """The payer has asked for Lightning, and may look at its tab."""
    invoice = invoice or open_one(site)
    site.page(invoice, "/way", method="POST", data={"way": "lightning"})
    return _turned_to(invoice, tab)


def silent_node(site: Site, *, tab: str) -> Invoice:
    node_of(site).is_silent = True
    return with_lightning(site, tab=tab)


def run_out(site: Site) -> Invoice:
    """The node's invoices last shorter than the price."""
    node_of(site).spoils = {"expires_at": START + timedelta(seconds=300)}
    return later(site, with_lightning(site), 400)


def paid_over_lightning(site: Site, invoice: Invoice | None = None) -> Invoice:
    invoice = with_lightning(site, invoice, tab="")
    node = node_of(site)
    node.pay(next(iter(node.made)), at=site.bridge.clock())
    site.look(invoice)
    return invoice


def paid_twice(site: Site) -> Invoice:
    invoice = paid_over_lightning(site)
    site.pay(invoice, invoice["quote"]["due_sat"], confirmations=1)
    return invoice


def _turned_to(invoice: Invoice, tab: str) -> Invoice:
    return invoice | {"payment_url": invoice["payment_url"] + tab}


# The same states where the shop takes Lightning too.
LIGHTNING: dict[str, Make] = {
    "lightning_beside": lambda site: with_lightning(site, tab=""),
    "lightning_offered": with_lightning,
    "lightning_possible": lambda site: _turned_to(open_one(site), LIGHTNING_TAB),
    "lightning_run_out": run_out,
    "lightning_refused": lambda site: silent_node(site, tab=LIGHTNING_TAB),
    "lightning_failed": lambda site: silent_node(site, tab="?refused=way_unavailable"),
    "lightning_first_silent": lambda site: _moved(site, with_lightning(site, tab=""), 600),
    "lightning_too_large": lambda site: _turned_to(open_one(site, **BIG), LIGHTNING_TAB),
    "lightning_rest": lambda site: with_lightning(site, paid(site, share=37)),
    "lightning_paid": paid_over_lightning,
    "lightning_paid_twice": paid_twice,
}
# Where the page's own script would make an invoice that the picture should not have yet.
UNMADE = frozenset({"lightning_possible", "lightning_run_out"})

# A taproot address of nobody: the longest kind.
TAPROOT = "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c"
REFUNDS: dict[str, Make] = {
    "refund_wanted": refund_asked,
    "refund_known": lambda site: refund_asked(site, destination=TAPROOT),
}


def excess_asked(site: Site, *, destination: str = "") -> Invoice:
    """So much too much that it can be sent back, and perhaps the payer has said where to."""
    invoice = paid(site, share=130, confirmations=6, **BIG)
    if destination:
        path, _, proof = ask_excess_back(site.bridge, invoice["payment_url"].rpartition("/")[2]).partition(
            "/refund?proof="
        )
        set_refund_address(site.bridge, path.rpartition("/")[2], address=destination, proof=proof)
    return invoice


EXCESS: dict[str, Make] = {
    "excess_wanted": excess_asked,
    "excess_named": lambda site: excess_asked(site, destination=TAPROOT),
}
# Words and sums of strangers at their longest.
HOSTILE = "<b>Щ</b>" + "W" * 5_000 + "\u202e" + "Ж" * 4_000
ODD: dict[str, Make] = {
    "odd_words": lambda site: site.open("N" * 61, **ORDER | {"description": HOSTILE, "amount": "99999999.99"}),
    "odd_words_paid": lambda site: _odd_paid(site),
}
ALL = STATES | BLIND | GIVEN | LIGHTNING | REFUNDS | EXCESS | ODD


def _odd_paid(site: Site) -> Invoice:
    invoice = ODD["odd_words"](site)
    for _ in range(12):
        site.pay(invoice, invoice["quote"]["due_sat"] // 6, confirmations=144_000)
    return invoice


def _moved(site: Site, invoice: Invoice, seconds: int) -> Invoice:
    """Later, but nobody has looked yet."""
    site.world.clock.advance(seconds)
    return invoice


@dataclass(kw_only=True)
class Stage:
    """Every state on its own little bridge, behind one WSGI application that finds it by the invoice in the path."""

    folder: Path
    sites: dict[str, Site] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    _closing: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        migrate(f"sqlite:///{self.folder / 'empty.db'}")

    def set_up(self, key: str) -> None:
        """Brings the state about; the page itself then says the state's key."""
        place = self.folder / f"{key}.db"
        shutil.copyfile(self.folder / "empty.db", place)
        world = World()
        site = build_site(f"sqlite:///{place}", world, bridge=_bridge_for(key, world), shop=SHOP)
        self._closing.callback(site.bridge.store.close)
        invoice = ALL[key](site)
        self.sites[key], self.paths[key] = site, invoice["payment_url"].removeprefix(site.bridge.public_url)

    def set_up_all(self) -> "Stage":
        for key in ALL:
            self.set_up(key)
        return self

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        known = ((key, self.paths[key].partition("?")[0]) for key in self.sites)
        key = next((key for key, start in known if path.startswith(start)), next(iter(self.sites)))
        return self.sites[key].app(environ, start_response)

    def close(self) -> None:
        self._closing.close()


def _bridge_for(key: str, world: World) -> dict[str, Any]:
    """What is unusual about the bridge of a state."""
    rule = Rule(risk_bps=100, fee_buffer_minor={"RUB": 2_500}, grace_seconds=30 * DAY)
    options: dict[str, Any] = {"merchants": {"shop": build_merchant(policy=Policy(default=rule))}}
    if key in LIGHTNING:
        options["rails"] = (gateway_rail(world.wallet), toy_rail(BoltNode(), most_units=100_000))
    if key == "provider_only_limit":
        options["chain"] = None
    if key == "suspicious_address":
        options["network"] = "main"
    if key == "screening":
        options["screening"] = EverybodyIsListed()
    return options
