"""A refund until it is sent: how much it is, where it goes, and that the shop sent it itself.

Owns the request, the naming of its address and that statement; it moves no money: `payouts.decide_payout` has other people
approve, `payouts.send_payouts` sends.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from bridge.context import Bridge
from bridge.core.addresses import check_payable, is_lightning
from bridge.core.credit import quote_at
from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.core.evidence import Sent
from bridge.core.money import to_minor
from bridge.core.payout import (
    GATEWAY_ROLES,
    LIGHTNING_ROLE,
    LIVE,
    ROLES,
    Amounts,
    amounts_for_net,
    check_minimum,
    net_of,
)
from bridge.invoices.price import current_rate
from bridge.invoices.record import rule_of
from bridge.payouts.destination import (
    Place,
    leaving,
    naming,
    new_place,
    place_of,
    refund_role,
    role_for,
    set_destination,
    used_once,
)
from bridge.payouts.outcome import TXID, book_sent
from bridge.payouts.steps import (
    Terms,
    address_form_url,
    found,
    note,
    payout_json,
    refund_proof,
    refundable_of,
    terms_of,
)
from bridge.permit import Act, acting, check_actor, check_actor_in, require_mode, require_words
from bridge.store import invoices, payouts
from bridge.store.db import Tx

# What a payer's own request for the excess is called on the page in its later states; in any other an address is named.
_EXCESS_STATES = {"sent": "returned", "confirmed": "returned", "rejected": "declined", "failed": "declined"}


@dataclass(frozen=True, kw_only=True)
class NewRefund:
    """What is asked for. `fiat_text` is decimal text in the invoice's currency, for the fiat variants; empty is all. `destination`
    is an address, a request of Lightning (BOLT11), a Lightning address, or empty: the payer names one.
    """

    invoice_id: str
    variant: str
    net_sat: int | None = None
    fiat_text: str = ""
    destination: str = ""


@dataclass(frozen=True, kw_only=True)
class Requested:
    """The payout as it stands. `is_replay` when the same key asked before; `form_url` while an address is missing."""

    payout: dict[str, Any]
    form_url: str | None
    is_replay: bool = False


def request_refund(
    bridge: Bridge, *, merchant_id: str | None, request: NewRefund, key: str, actor: str, reason: str
) -> Requested:
    """Proposes a refund. `merchant_id` limits it to that merchant's invoices, None is an operator's request.

    Raises Refused (unknown_invoice, unknown_variant, nothing_to_refund, above_refundable, below_min_send, bad_address,
    wrong_network, own_address, bolt11_used, lightning_not_sent, idempotency_mismatch, forbidden, …), Conflict("payout_changed")
    and Unavailable.
    """
    require_words(actor, reason)
    if merchant_id is None:
        check_actor(bridge, actor, "payout.propose")
    now = bridge.clock()
    with bridge.store.read() as tx:
        invoice = _found(invoices.find(tx, id=request.invoice_id), merchant_id)
        known = payouts.find(tx, merchant=invoice.merchant, request_key=key)
        if known is not None:
            return _answer(tx, bridge, invoice, known, request, is_replay=True)
    plan = _planned(bridge, invoice, request, now=now)
    with used_once(), bridge.store.write() as tx:
        require_mode(tx, "read_only")
        if merchant_id is None:
            check_actor_in(tx, actor, "payout.propose", now=now)
        # The lock on the invoice lines up everybody who wants money of it.
        invoice = _found(invoices.find(tx, lock=True, id=request.invoice_id), merchant_id)
        known = payouts.find(tx, merchant=invoice.merchant, request_key=key)
        if known is not None:  # a double click was faster
            return _answer(tx, bridge, invoice, known, request, is_replay=True)
        values = _values(tx, bridge, invoice, request, plan, now=now)
        values |= {"request_key": key, "proposed_by": actor, "reason": reason}
        values |= _named(tx, bridge, request, plan.place, values["net_sat"], actor=actor, now=now)
        # The same key for another invoice does not wait for this one's lock.
        row, is_new = payouts.add(tx, values)
        if is_new:
            more = {"named": plan.place.named} if plan.place is not None and plan.place.named else {}
            note(Act(tx=tx, actor=actor, reason=reason, now=now), bridge, row, "refund_requested", more=more)
            bridge.crash_point("payout.requested")
        return _answer(tx, bridge, invoice, row, request, is_replay=not is_new)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What was asked of others before anything is locked: which wallet sends on which terms, today's price, the place."""

    role: str
    terms: Terms
    today_minor: int | None
    place: Place | None = None


def _planned(bridge: Bridge, invoice: Any, request: NewRefund, *, now: datetime) -> _Plan:
    role = role_for(bridge, request.destination)
    today_minor = current_rate(bridge, invoice.currency, now).price_minor if request.variant == "fiat_today" else None
    plan = _Plan(role=role, terms=terms_of(bridge, role), today_minor=today_minor)
    sat = 0
    if LIGHTNING_ROLE in bridge.senders and (role == LIGHTNING_ROLE or not request.destination):
        try:
            with bridge.store.read() as tx:
                sat = _values(tx, bridge, invoice, request, plan, now=now)["net_sat"]
        except Refused as refused:
            if refused.code != "below_min_send" or request.destination:
                return plan  # it is refused, or answered to who clicked twice, where the invoice is locked
            # Too little for an address is enough for Lightning, if the payer has a wallet for that.
            return replace(plan, role=LIGHTNING_ROLE, terms=terms_of(bridge, LIGHTNING_ROLE))
    if not request.destination:
        return plan
    return replace(plan, place=place_of(bridge, request.destination, role=role, terms=None, sat=sat, now=now))


def _named(
    tx: Tx, bridge: Bridge, request: NewRefund, place: Place | None, net_sat: int, *, actor: str, now: datetime
) -> dict[str, Any]:
    if not request.destination:
        return {}
    if place is None or (place.key is not None and place.sat != net_sat):
        raise Conflict("payout_changed", "The sum changed while the Lightning invoice was asked for; ask again.")
    return naming(tx, bridge, place) | {"destination_set_at": now, "destination_set_by": actor}


def _answer(tx: Tx, bridge: Bridge, invoice: Any, row: Any, request: NewRefund, *, is_replay: bool) -> Requested:
    if row.request_sha256 != _digest(request):
        raise Refused("idempotency_mismatch", "This key was used for another request.", field="Idempotency-Key")
    form_url = address_form_url(bridge, invoice, row)
    return Requested(payout=payout_json(tx, row), form_url=form_url, is_replay=is_replay)


def _values(
    tx: Tx,
    bridge: Bridge,
    invoice: Any,
    request: NewRefund,
    plan: _Plan,
    *,
    now: datetime,
) -> dict[str, Any]:
    """The new row but for who asked. Raises Refused when the request cannot be met."""
    terms, price_minor = plan.terms, plan.today_minor or _quoted_price(tx, bridge, invoice)
    fiat_minor = _fiat_minor(invoice, request)
    amounts = _amounts(tx, invoice, request, terms, fiat_minor=fiat_minor, price_minor=price_minor)
    return new_payout(bridge, "refund", amounts, role=plan.role, fee_bps=terms.fee_bps, now=now) | {
        "invoice_id": invoice.id,
        "merchant": invoice.merchant,
        "billing_payment_id": invoice.billing_payment_id,
        "customer_id": invoice.customer_id,
        "service_ref": invoice.service_ref,
        "request_sha256": _digest(request),
        "variant": request.variant,
        "fiat_minor": fiat_minor if request.variant.startswith("fiat") else None,
        "currency": invoice.currency,
        "price_minor": price_minor,
    }


def new_payout(
    bridge: Bridge, kind: str, amounts: Amounts, *, role: str, fee_bps: int | None, now: datetime
) -> dict[str, Any]:
    """What every new payout's row says, whoever asks for it."""
    return leaving(bridge, amounts, role=role, fee_bps=fee_bps) | {
        "id": bridge.new_id("pay"),
        "kind": kind,
        "state": "requested",
        "network": bridge.network,
        "maybe_sent": False,
        "requested_at": now,
        "updated_at": now,
        "next_try_at": now,
    }


def _amounts(tx: Tx, invoice: Any, request: NewRefund, terms: Terms, *, fiat_minor: int, price_minor: int) -> Amounts:
    net_sat = net_of(
        request.variant,
        refundable=refundable_of(tx, invoice),
        fiat_minor=fiat_minor,
        price_minor=price_minor,
        currency=invoice.currency,
        custom_sat=request.net_sat,
    )
    amounts = amounts_for_net(net_sat, fee_bps=terms.fee_bps)
    check_minimum(amounts, min_send_sat=terms.min_send_sat, fee_bps=terms.fee_bps)
    return amounts


def _fiat_minor(invoice: Any, request: NewRefund) -> int:
    fiat_minor: int = to_minor(request.fiat_text, invoice.currency) if request.fiat_text else invoice.amount_minor
    if fiat_minor > invoice.amount_minor:
        raise Refused("above_refundable", "A refund is not more than the invoice.", field="amount")
    return fiat_minor


def _quoted_price(tx: Tx, bridge: Bridge, invoice: Any) -> int:
    """The price that the first money was taken at, else the newest one that was offered."""
    quotes = invoices.quotes_of(tx, invoice.id, currency=invoice.currency)
    payments = [payment for payment in invoices.payments_of(tx, invoice.id) if not payment.replaced]
    at_sight = (quote_at(quotes, payment, rule_of(invoice)) for payment in payments)
    return next((quote for quote in at_sight if quote is not None), quotes[-1]).price_minor


def _digest(request: NewRefund) -> str:
    return hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()


def _found(invoice: Any, merchant_id: str | None = None) -> Any:
    if invoice is None or (merchant_id is not None and invoice.merchant != merchant_id):
        raise Refused("unknown_invoice", "There is no such invoice.")
    return invoice


def excess_key(invoice_id: str) -> str:
    """The request key under which a payer asks for what was too much, once for an invoice."""
    return f"payer-excess-{invoice_id}"


def _asked_for_excess(invoice: Any, its: Iterable[Any]) -> Any:
    return next((each for each in its if each.request_key == excess_key(invoice.id)), None)


def _live_sat(its: Iterable[Any]) -> int:
    return sum(each.net_sat for each in its if each.kind == "refund" and each.state in LIVE)


def excess_state(bridge: Bridge, invoice: Any, its: Iterable[Any]) -> str:
    """What becomes of the money that was too much, with the invoice's payouts: ask (the payer may ask for it), named, returned,
    declined, under_way, unconfirmed, too_small; "" where there is none.
    """
    payouts_of_it = list(its)
    asked, live_sat = _asked_for_excess(invoice, payouts_of_it), _live_sat(payouts_of_it)
    # What was declined may go back otherwise.
    if asked is not None and (asked.state in LIVE or live_sat < invoice.excess_sat):
        is_nameable = asked.state == "requested" and asked.destination is None
        return "ask" if is_nameable else _EXCESS_STATES.get(asked.state, "named")
    if invoice.status != "settled" or invoice.hold is not None:
        return ""
    if not invoice.excess_sat:
        return "unconfirmed"
    if live_sat >= invoice.excess_sat:
        return "under_way"
    # Who asks the gateway then may hear of a larger minimum; over Lightning nothing is too small.
    is_small = invoice.excess_sat - live_sat < bridge.payouts.min_send_sat
    is_sent_by_gateway = refund_role(bridge) in GATEWAY_ROLES
    return "too_small" if is_small and is_sent_by_gateway and LIGHTNING_ROLE not in bridge.senders else "ask"


def excess_parts(invoice: Any, its: Iterable[Any], *, state: str, excess_sat: int) -> tuple[tuple[str, int], ...]:
    """All that was too much, in parts by what becomes of them: what the payer asked for, or could ask for now, which is in `state`;
    what goes back by other refunds; and what came since he asked, or has no block yet.
    """
    payouts_of_it = list(its)
    asked = _asked_for_excess(invoice, payouts_of_it)
    others_sat = _live_sat(each for each in payouts_of_it if each is not asked)
    first_sat = asked.net_sat if asked is not None else max(invoice.excess_sat - others_sat, 0)
    if state == "under_way":
        first_sat = 0
    parts, left_sat = [], excess_sat
    for name, sat in (
        (state, first_sat),
        ("under_way", others_sat),
        ("unconfirmed" if asked is None else "support", left_sat),
    ):
        parts.append((name, min(sat, left_sat)))
        left_sat -= min(sat, left_sat)
    return tuple((name, sat) for name, sat in parts if sat and state)


def ask_excess_back(bridge: Bridge, public_id: str) -> str:
    """The payer asks for what was too much: a refund that waits for an address and for people. Returns the address of its form, the same
    one until an address is named; from then on only who was handed the link can change it.

    Raises Refused (unknown_invoice, nothing_to_refund, below_min_send, …) and Unavailable.
    """
    with bridge.store.read() as tx:
        invoice = _found(invoices.find(tx, public_id=public_id))
        its = payouts.listing(tx, match={"invoice_id": invoice.id})
    if excess_state(bridge, invoice, its) != "ask":
        raise Refused("nothing_to_refund", "There is nothing that could be asked for now.")
    asked = request_refund(
        bridge,
        merchant_id=invoice.merchant,
        request=NewRefund(invoice_id=invoice.id, variant="excess_only"),
        key=excess_key(invoice.id),
        actor="payer",
        reason="asked for on the pay page",
    )
    if asked.form_url is None:  # somebody was faster
        raise Refused("nothing_to_refund", "An address is named already.")
    return asked.form_url


def refund_form(bridge: Bridge, public_id: str, *, proof: str) -> dict[str, Any]:
    """What the payer's form shows: the refund's figures and state, nothing of people. Raises as `set_refund_address`."""
    with bridge.store.read() as tx:
        invoice = _found(invoices.find(tx, public_id=public_id))
        row = _of_proof(tx, bridge, invoice, proof)
    return {
        "state": row.state,
        "net_sat": row.net_sat,
        "is_fee_known": row.fee_bps is not None,
        "sent_sat": row.sent_sat,
        "destination": row.destination,
        "network": row.network,
        "is_lightning": row.role == LIGHTNING_ROLE,
        "takes_lightning": LIGHTNING_ROLE in bridge.senders,
        "ran_out": row.waiting == "bolt11_expired",
        "txid": row.txid,
        "message": message_to_sign(bridge, invoice),
        "may_change": row.state in ("requested", "approved") and not row.attempts,
    }


def message_to_sign(bridge: Bridge, invoice: Any) -> str:
    """What the payer may sign with the key of the address, to show that it is theirs."""
    return f"Refund of {invoice.id}, {bridge.public_url}"


def set_refund_address(
    bridge: Bridge, public_id: str, *, address: str, proof: str, signature: str = ""
) -> dict[str, Any]:
    """The payer names the address of the refund; again is allowed until it is sent. Returns what the form shows.

    `signature` over `message_to_sign` is optional; a wrong one refuses the address.
    Raises Refused (unknown_invoice, bad_proof, already_submitted, bad_address, wrong_network, own_address, what `place_of` refuses,
    signature_differs, signature_unsupported, signature_time_locked) and Unavailable.
    """
    now = bridge.clock()
    reason = "named by the payer"
    if signature.strip():
        _check_signature(bridge, public_id, address=address, proof=proof, signature=signature)
        reason = "named by the payer, signed with its key"
    with bridge.store.read() as tx:
        require_mode(tx, "read_only")
        before = _of_proof(tx, bridge, _found(invoices.find(tx, public_id=public_id)), proof)
    # Nobody without the link makes us ask a server of their choice.
    place = new_place(bridge, before, address, now=now)
    with used_once(), bridge.store.write() as tx:
        require_mode(tx, "read_only")
        invoice = _found(invoices.find(tx, lock=True, public_id=public_id))
        row = found(payouts.find(tx, lock=True, id=_of_proof(tx, bridge, invoice, proof).id))
        set_destination(Act(tx=tx, actor="payer", reason=reason, now=now), bridge, row, place)
    return refund_form(bridge, public_id, proof=proof)


def _check_signature(bridge: Bridge, public_id: str, *, address: str, proof: str, signature: str) -> None:
    """Only for who holds the link, and before anything is locked: a script of a stranger's choice may take its time."""
    with bridge.store.read() as tx:
        invoice = _found(invoices.find(tx, public_id=public_id))
        _of_proof(tx, bridge, invoice, proof)
    if is_lightning(address):
        raise Refused(
            "signature_unsupported", "Nothing over Lightning is signed for; leave it empty.", field="signature"
        )
    checked = check_payable(address.strip(), network=bridge.network)
    from bridge.core.messages import check_signed  # with the libraries of signatures, which a start can do without

    check_signed(message_to_sign(bridge, invoice), address=checked, signature=signature)


def change_address(bridge: Bridge, payout_id: str, *, address: str, actor: str, reason: str) -> dict[str, Any]:
    """An operator names the address. Raises Refused like `set_refund_address`, and unknown_payout and forbidden.

    Whoever tries to send a sweep elsewhere is refused, and that stays on record.
    """
    now = bridge.clock()
    with bridge.store.read() as tx:
        check_actor_in(tx, actor, "payout.propose", now=now)
        before = found(payouts.find(tx, id=payout_id))
    place = new_place(bridge, before, address, now=now) if before.kind == "refund" else None
    with used_once(), acting(bridge, "payout.propose", actor=actor, reason=reason, unless="read_only") as act:
        row = found(payouts.find(act.tx, lock=True, id=payout_id))
        if place is not None:
            return payout_json(act.tx, set_destination(act, bridge, row, place))
        note(act, bridge, row, f"{row.kind}_refused", before=row.state, more={"wanted": address[:100]})
    raise Refused("fixed_destination", "Only a refund's address can be named.", field="address")


def _of_proof(tx: Tx, bridge: Bridge, invoice: Any, proof: str) -> Any:
    """The refund whose form this proof opens."""
    for row in payouts.listing(tx, match={"invoice_id": invoice.id, "kind": "refund"}, limit=100):
        if hmac.compare_digest(refund_proof(bridge, row.id).encode(), proof.encode("utf-8", "replace")):
            return row
    raise Refused("bad_proof", "This link does not open the form; ask for a new one.", field="proof")


def record_own_send(bridge: Bridge, payout_id: str, *, txid: str, actor: str, reason: str) -> dict[str, Any]:
    """Books an approved refund as sent by this transaction.

    Raises Refused (unknown_payout, forbidden, not_own_send, txid_missing, txid_not_seen, txid_other_sum, txid_used),
    Conflict("not_waiting") and Unavailable while no chain reader answers.
    """
    require_words(actor, reason)
    txid = txid.strip().lower()
    if not TXID.fullmatch(txid):
        raise Refused("txid_missing", "Say by its txid which transaction it was.", field="txid")
    now = bridge.clock()
    with bridge.store.read() as tx:
        check_actor_in(tx, actor, "payout.propose", now=now)
        before = _waiting(tx, payout_id)
    if bridge.chain is None:
        raise Unavailable("chain_unavailable", "Without a chain reader nobody can see the transaction.")
    outputs = bridge.chain.read(before.destination, born_at=before.requested_at, asked_at=now).outputs
    arrived = [output.amount_sat for output in outputs if output.outpoint.startswith(f"{txid}:")]
    if not arrived:
        raise Refused("txid_not_seen", "No chain reader sees this transaction paying this address.", field="txid")
    if before.net_sat not in arrived:
        detail = f"This transaction pays {sum(arrived)} satoshi to the address, not {before.net_sat}."
        raise Refused("txid_other_sum", detail, field="txid")
    sent = Sent(txid=txid, requested_sat=before.net_sat, sent_sat=before.net_sat, fee_sat=0)
    with acting(bridge, "payout.propose", actor=actor, reason=reason, now=now) as act:
        tx = act.tx
        row = _waiting(tx, payout_id, lock=True)
        if row.version != before.version:
            raise Conflict("payout_changed", "The payout was changed by somebody else; read it again.")
        # One payout of a wallet is under way at a time: who states the same transaction at once waits here for our commit.
        intended = payouts.change(tx, row, {"state": "submitting", "attempts": 1, "waiting": ""}, now=now)
        if txid in payouts.txids_to(tx, row.destination):
            raise Refused("txid_used", "This transaction is another refund's already.", field="txid")
        note(act, bridge, intended, "own_send_stated", before=row.state)
        book_sent(act, bridge, intended, sent)
        return payout_json(tx, payouts.find(tx, id=row.id))


def _waiting(tx: Tx, payout_id: str, *, lock: bool = False) -> Any:
    row = found(payouts.find(tx, lock=lock, id=payout_id))
    if row.role in ROLES:
        raise Refused("not_own_send", "The gateway sends this payout, not you.", field="txid")
    if row.state != "approved":
        raise Conflict("not_waiting", f"This payout is {row.state}; there is nothing to state.")
    return row
