"""The payer's wallet of the sandbox: one page that pays, pays too little, pays twice, over Lightning, replaces, takes back, mines.

Must not know the bridge: all it knows of a payment is the link that anybody can copy from a pay page, the chain and the node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qs, urlencode

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from sandbox import control
from sandbox.addresses import BadAddress, script_of
from sandbox.bolt11 import payment_hash_of
from sandbox.chain import Transaction
from sandbox.lightning import PENDING, SUCCESS
from sandbox.wallet_words import say
from sandbox.world import World

SAT_PER_BTC = 100_000_000
CHOICES = 6


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a payment link asks for; `sat` 0 when it names no sum. It has an address, a Lightning invoice or both."""

    address: str = ""
    sat: int = 0
    bolt11: str = ""

    @property
    def link(self) -> str:
        if not self.address:
            return f"lightning:{self.bolt11}"
        asks = {"amount": btc(self.sat) if self.sat else "", "lightning": self.bolt11}
        query = urlencode({name: value for name, value in asks.items() if value})
        return f"bitcoin:{self.address}" + (f"?{query}" if query else "")


def read_link(text: str, net: str) -> Wish:
    """A BIP-21 link or a bare address, upper case allowed where bech32 allows it. Raises ValueError in a person's words."""
    head, _, query = text.strip().partition("?")
    address = head[8:] if head.lower().startswith("bitcoin:") else head
    if address == address.upper():
        address = address.lower()
    try:
        script_of(address, net)
    except BadAddress as wrong:
        raise ValueError(str(wrong) if "net" in str(wrong) else "wrong checksum") from None
    sums = parse_qs(query).get("amount", ["0"])
    try:
        sat = Decimal(sums[0]) * SAT_PER_BTC
    except InvalidOperation:
        raise ValueError("the amount in the link is not a number") from None
    if sat != sat.to_integral_value() or not 0 <= sat <= 21_000_000 * SAT_PER_BTC:
        raise ValueError("the amount in the link is impossible")
    return Wish(address=address, sat=int(sat))


def read_request(world: World, text: str) -> Wish:
    """The same, and what is asked for over Lightning: a link of its own, a bare invoice, or one beside an address."""
    text = text.strip()
    head, _, query = text.partition("?")
    bare = head[10:] if head.lower().startswith("lightning:") else head
    if bare.lower().startswith("ln"):
        payment = world.lightning.incoming(payment_hash_of(bare))
        return Wish(sat=payment.amount_msat // 1_000, bolt11=bare.lower())
    beside = {name.lower(): values[0] for name, values in parse_qs(query).items()}.get("lightning", "")
    wish = read_link(text.lower() if text == text.upper() else text, world.net)
    return replace(wish, bolt11=beside.lower())


def btc(sat: int) -> str:
    """Satoshi as bitcoin with all eight decimals."""
    return f"{sat // SAT_PER_BTC}.{sat % SAT_PER_BTC:08}"


def newest(world: World) -> list[Wish]:
    """The last addresses that the gateway gave out, newest first, each with what its watch waits for and has not got; before them
    the Lightning invoices that wait.
    """
    waited = {watch.address: watch.expected_sat for watch in world.callbacks.watches}
    given = [a for account in world.gateway.accounts.values() for w in account.wallets.values() for a in w.inboxes]
    asked = [p for p in world.lightning.payments if p.is_incoming and p.status == PENDING and not p.held]
    return [Wish(bolt11=p.bolt11, sat=p.amount_msat // 1_000) for p in asked[: -CHOICES - 1 : -1]] + [
        Wish(address=a, sat=max(0, waited.get(a, 0) - _received(world, a))) for a in given[: -CHOICES - 1 : -1]
    ]


def _received(world: World, address: str) -> int:
    return world.chain.received_sat(address, min_conf=0)


def _pay(world: World, wish: Wish, *, percent: int = 100, times: int = 1) -> None:
    if not wish.sat or not wish.address:
        raise ValueError("the link names no amount")
    for _ in range(times):
        sat = max(1, wish.sat * percent // 100)
        control.pay(world, {"address": wish.address, "amount_sat": sat, "replaceable": True})


def _own(world: World, wish: Wish) -> list[Transaction]:
    """This address's incoming transactions, newest first."""
    ids = dict.fromkeys(txid for txid, _ in world.chain.outputs_of.get(wish.address, []))
    return [world.chain.transactions[txid] for txid in reversed(ids)]


def _waiting(world: World, wish: Wish) -> Transaction:
    for transaction in _own(world, wish):
        if world.chain.confirmations(transaction.txid) == 0:
            return transaction
    raise ValueError("nothing of this wallet waits unconfirmed")


def _bump(world: World, wish: Wish) -> None:
    """The same money again with a higher fee: what wallets call "speed up"."""
    control.replace(world, {"txid": _waiting(world, wish).txid})


def _take_back(world: World, wish: Wish) -> None:
    """The same coins to another address: the payment vanishes."""
    old = _waiting(world, wish)
    vout = next(n for n, o in enumerate(old.outputs) if o.address == wish.address)
    control.replace(world, {"txid": old.txid, "vout": vout, "address": world.gateway.stray_address()})


def _pay_over_lightning(world: World, wish: Wish) -> None:
    if not wish.bolt11:
        raise ValueError("the link has no Lightning invoice")
    world.lightning.pay(wish.bolt11)


ACTIONS: dict[str, Callable[[World, Wish], object]] = {
    "pay": lambda world, wish: _pay(world, wish),
    "pay90": lambda world, wish: _pay(world, wish, percent=90),
    "pay110": lambda world, wish: _pay(world, wish, percent=110),
    "twice": lambda world, wish: _pay(world, wish, times=2),
    "lightning": _pay_over_lightning,
    "bump": _bump,
    "back": _take_back,
    "mine": lambda world, wish: control.mine(world, {"blocks": 1}),
    "mine6": lambda world, wish: control.mine(world, {"blocks": 6}),
    "reorg": lambda world, wish: control.reorg(world, {"depth": 1}),
}
NEED_NO_LINK = frozenset({"mine", "mine6", "reorg"})


def blueprint(world: World) -> Blueprint:
    """GET /wallet?uri=… shows, POST /wallet does one thing and leads back."""
    routes = Blueprint("wallet", __name__, url_prefix="/wallet", template_folder="templates", static_folder="static")

    @routes.get("")
    def page() -> Response:
        return _page(world, request.args.get("uri", ""))

    @routes.post("")
    def act() -> AnyResponse:
        name, uri = request.form.get("action", ""), request.form.get("uri", "")
        try:
            with world.lock:
                wish = Wish() if name in NEED_NO_LINK else read_request(world, uri)
                ACTIONS[name](world, wish)
        except KeyError:
            return _page(world, uri, error="no such action")
        except ValueError as error:
            return _page(world, uri, error=str(error))
        return redirect(url_for("wallet.page", uri=uri, lang=request.args.get("lang")), code=303)

    return routes


def _page(world: World, uri: str, *, error: str = "") -> Response:
    lang = request.args.get("lang") or request.accept_languages.best_match(["en", "ru"]) or "en"
    with world.lock:
        choices, wish = newest(world), None
        try:
            wish = read_request(world, uri) if uri else next((c for c in choices if c.address), None)
        except ValueError as wrong:
            error = error or str(wrong)
        body = render_template(
            "wallet.html",
            t=lambda name: say(name, lang),
            lang=lang if lang in ("en", "ru") else "en",
            net=world.net,
            uri=uri or (wish.link if wish else ""),
            wish=wish,
            choices=choices,
            error=say(error, lang) if error else "",
            btc=btc,
            height=world.chain.tip.height,
            waiting=any(world.chain.confirmations(t.txid) == 0 for t in (_own(world, wish) if wish else [])),
            payments=[*_shown_lightning(world, wish), *(_shown(world, t, wish) for t in _own(world, wish))]
            if wish
            else [],
        )
    return Response(body, status=400 if error else 200, mimetype="text/html")


def _shown(world: World, transaction: Transaction, wish: Wish) -> dict[str, object]:
    return {
        "txid": transaction.txid,
        "sat": sum(o.value_sat for o in transaction.outputs if o.address == wish.address),
        "depth": world.chain.confirmations(transaction.txid),
    }


def _shown_lightning(world: World, wish: Wish) -> list[dict[str, object]]:
    """What was paid or is held of the invoice, if there is one."""
    if not wish.bolt11:
        return []
    try:
        payment = world.lightning.incoming(payment_hash_of(wish.bolt11))
    except ValueError:
        return []
    state = "held" if payment.held else "arrived" if payment.status == SUCCESS else ""
    return [{"txid": payment.payment_hash, "sat": payment.amount_msat // 1_000, "state": state}] if state else []
