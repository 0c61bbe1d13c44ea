"""Opening an invoice for a billing payment: one invoice and one address, however often and in parallel it is asked for.

Owns idempotency, the opening claim and re-opening; the price is `invoices.price`'s, the address the wallet's.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from bridge import tracing
from bridge.context import Bridge, Merchant
from bridge.core.credit import remaining_minor
from bridge.core.currencies import check_taken
from bridge.core.errors import BridgeError, Conflict, Refused, Unavailable
from bridge.core.money import MAX_MONEY_SAT, to_minor
from bridge.core.policy import Rule
from bridge.core.quote import Quote, Rate
from bridge.core.rail import Offer, Wanted
from bridge.core.reference import document_of
from bridge.invoices.price import current_rate, offer, samples_json
from bridge.invoices.record import Recorded, open_loose_review, record, record_first, recorded_text, rule_of
from bridge.invoices.stage import require_stage_room
from bridge.invoices.targets import address_for_invoice, asks_always, memo_of, offered, refuse_amount
from bridge.logs import log
from bridge.payouts.treasury import require_room
from bridge.permit import refuse_mode, refuse_paused
from bridge.store import idempotency, invoices, wallets
from bridge.store.db import Duplicate, Tx
from bridge.store.idempotency import Scope
from bridge.store.together import Part, Together
from bridge.turns import require_call_or_lot

OPENING_LEASE_SECONDS = 30
# What the gateway may say of an address that must make somebody look at the gateway.
SUSPICIOUS_ADDRESS = {
    "address_repeated": "suspicious_address",
    "provider_bad_address": "suspicious_address",
    "provider_other_answer": "suspicious_address",
}
WAIT_STEPS_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class NewInvoice:
    """What the billing system asks for. `amount_text` is a decimal in `currency`; nothing is believed.

    `carried` are columns of the invoice that nobody here looks at.
    """

    billing_payment_id: str
    amount_text: str
    currency: str
    customer_id: str = ""
    tier: str = ""
    carried: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, **asked: str) -> "NewInvoice":
        """From all that is asked for by name: what is no field of this is carried."""
        own = {each.name for each in fields(cls)}
        carried = {name: text for name, text in asked.items() if name not in own}
        return cls(**{name: text for name, text in asked.items() if name in own}, carried=carried)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An HTTP answer: status and the exact JSON text. `is_replay` when it is the kept answer of an earlier request."""

    status: int
    body: str
    is_replay: bool = False


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One request with everything known before the first transaction. `no_price` is why there is no rate."""

    merchant: Merchant
    request: NewInvoice
    amount_minor: int
    scope: Scope
    body_sha256: str
    now: datetime
    rate: Rate | None
    no_price: BridgeError | None

    def rate_or_raise(self) -> Rate:
        if self.rate is None:
            raise self.no_price or Unavailable("price_unavailable", "There is no price now.", retry_after_seconds=30)
        return self.rate


@dataclass(frozen=True, kw_only=True)
class _NeedsAddress:
    """The first transaction's answer when the wallet has to be asked: the quote to ask for, and who may go on: nobody else, where
    there is an owner. `calls_ahead` are calls of the budget that it drew for those who come next.
    """

    rule: Rule
    quote: Quote
    owner: str | None = None
    calls_ahead: int = 0


class _IsKnown(Exception):
    """The billing payment has an invoice already: that changes more than claims."""


class _ClaimLost(Exception):
    """Another request took the claim over while the wallet was asked."""


@tracing.traced("flow.open_invoice")
def open_invoice(bridge: Bridge, *, merchant: Merchant, request: NewInvoice, key: str, body_sha256: str) -> Answered:
    """Opens, re-opens or finds the invoice of `request.billing_payment_id`.

    Raises Refused (unsupported_currency, former_currency, below_minimum, above_maximum, too_many_open, idempotency_mismatch, …),
    Conflict (amount_changed, idempotency_in_progress, opening_in_progress) and Unavailable (price_unavailable, provider_unavailable).
    """
    for pause in WAIT_STEPS_SECONDS:
        asked = _asked(bridge, merchant, request, key, body_sha256)
        outcome = _claimed(bridge, asked)
        bridge.crash_point("open.claimed")
        if isinstance(outcome, _NeedsAddress):
            if outcome.calls_ahead:
                bridge.calls_ahead.keep(outcome.calls_ahead, asked.now)
            outcome = _with_fresh_address(bridge, asked, outcome)
        if isinstance(outcome, Answered):
            if outcome.status == 201 and not outcome.is_replay:
                bridge.metrics.invoices_opened.labels(merchant=merchant.id).inc()
                bridge.metrics.quotes.labels(outcome="made").inc()
            return outcome
        if isinstance(outcome, BridgeError):
            raise outcome
        # Somebody else opens the same billing payment right now: its invoice is ours too, a moment later.
        time.sleep(pause)
    raise Conflict("opening_in_progress", "This payment is being opened by another request.", retry_after_seconds=2)


def _claimed(bridge: Bridge, asked: _Asked) -> "Answered | _NeedsAddress | BridgeError | None":
    """The first transaction, or the only one. Where it can only claim, it need not be durable: a machine that dies forgets the
    claim, no more.
    """
    if not asks_always(bridge) and (answered := _at_once(bridge, asked)) is not None:
        return answered
    if bridge.receiving.asks is not None:
        try:
            with bridge.store.write(durable=False, joins=True) as tx:
                outcome = _first_step(tx, bridge, asked, only_claims=True)
                bridge.crash_point("open.first_committing")
                return outcome
        except _IsKnown:
            pass  # and the claims are rolled back
    with bridge.store.write() as tx:
        outcome = _first_step(tx, bridge, asked, only_claims=False)
        bridge.crash_point("open.first_committing")
        return outcome


def _at_once(bridge: Bridge, asked: _Asked) -> Answered | None:
    """All in one transaction and without a claim, where an address is at hand: whoever comes second fails on what the first
    one wrote. None when there is none, or when payment or key are known: then who waits for whom is said by the claims.
    """
    try:
        with bridge.store.write(joins=True) as tx:
            look = _look(tx, bridge, asked)
            if look.invoice_id is not None:
                return None
            rule, quote = _terms(tx, bridge, asked, look)
            invoice_id = bridge.new_id("inv")
            address = address_for_invoice(tx, bridge, invoice_id=invoice_id, now=asked.now)
            if address is None:
                return None
            _require_stage_room(tx, bridge, asked)
            needs = _NeedsAddress(rule=rule, quote=quote)
            answered = _prepared(bridge, asked, needs, invoice_id=invoice_id, offer=Offer(text=address)).write(tx)
            bridge.crash_point("open.first_committing")
            return answered
    except Duplicate:
        return None


def _look(tx: Tx, bridge: Bridge, asked: _Asked) -> invoices.BeforeOpening:
    customer_id = asked.request.customer_id
    return invoices.before_opening(tx, customer_id=customer_id, wallet_id=bridge.wallet_id, **_billing(asked))


def _terms(tx: Tx, bridge: Bridge, asked: _Asked, look: invoices.BeforeOpening) -> tuple[Rule, Quote]:
    """What a new invoice would be opened by. Raises when none may be."""
    refuse_mode(look.mode, "read_only", "limited")
    refuse_paused(look.wallet_mode)
    require_room(tx, bridge)
    rule = _rule_for(tx, asked, open_now=look.open_now)
    return rule, _first_quote(bridge, asked, rule)


def _asked(bridge: Bridge, merchant: Merchant, request: NewInvoice, key: str, body_sha256: str) -> _Asked:
    check_taken(request.currency, merchant.currencies)
    amount_minor = to_minor(request.amount_text, request.currency)
    now, rate, no_price = bridge.clock(), None, None
    try:
        rate = current_rate(bridge, request.currency, now)
    except Unavailable as error:
        no_price = error
    scope = Scope(merchant=merchant.id, operation="open_invoice", key=key)
    return _Asked(
        merchant=merchant,
        request=request,
        amount_minor=amount_minor,
        scope=scope,
        body_sha256=body_sha256,
        now=now,
        rate=rate,
        no_price=no_price,
    )


def _first_step(
    tx: Tx, bridge: Bridge, asked: _Asked, *, only_claims: bool
) -> Answered | _NeedsAddress | BridgeError | None:
    """One transaction: replay, the invoice that is there already, or a new one on a spare address; None means wait.

    An error that must leave traces (a held invoice) is returned, not raised, so that the transaction commits.
    """
    billing: dict[str, Any] = _billing(asked)
    owner, together = bridge.new_id("own"), Together()
    claim: dict[str, Any] = {"now": asked.now, "lease_seconds": OPENING_LEASE_SECONDS}
    key = idempotency.begin(together, asked.scope, body_sha256=asked.body_sha256, **claim)
    opening = idempotency.take_opening(together, owner=owner, **billing, **claim)
    together.run(tx)
    if key.value is None:
        again = idempotency.begun_before(tx, asked.scope, body_sha256=asked.body_sha256, **claim)
        if again is not None:
            idempotency.end_opening(tx, owner=owner, **billing)
            return Answered(status=again[0], body=again[1], is_replay=True)
    if opening.value is None:
        idempotency.forget(tx, asked.scope)
        return None
    # After the claim: it may come free because its invoice was committed a moment after we looked for that.
    look = _look(tx, bridge, asked)
    if look.invoice_id is not None:
        if only_claims:
            raise _IsKnown
        refuse_mode(look.mode, "read_only")
        idempotency.end_opening(tx, owner=owner, **billing)
        return _again(tx, bridge, asked, invoices.find(tx, lock=True, id=look.invoice_id))
    rule, quote = _terms(tx, bridge, asked, look)
    invoice_id = bridge.new_id("inv")
    address = None if only_claims else address_for_invoice(tx, bridge, invoice_id=invoice_id, now=asked.now)
    needs = _NeedsAddress(rule=rule, quote=quote, owner=owner)
    _require_stage_room(tx, bridge, asked)
    if address is None:
        return replace(needs, calls_ahead=require_call_or_lot(tx, bridge, now=asked.now))
    return _prepared(bridge, asked, needs, invoice_id=invoice_id, offer=Offer(text=address)).write(tx)


def _with_fresh_address(bridge: Bridge, asked: _Asked, needs: _NeedsAddress) -> Answered | None:
    """Asks the wallet outside any transaction. A lost reply leaves an orphan address at the gateway: harmless, never shown.

    None when another request has opened the payment meanwhile: it took the claim over from a slow one, or found an address at
    hand and needed none. Its invoice is ours too.
    """
    ask = bridge.receiving.asks
    if ask is None:
        raise ValueError("a rail that has no address and cannot be asked for one is not offered")
    try:
        offer = ask(_wanted(bridge, asked, needs.quote))
    except BridgeError as error:
        raise _not_opened(bridge, asked, needs, code=error.code) from error
    bridge.crash_point("open.address_taken")
    prepared = _prepared(bridge, asked, needs, invoice_id=bridge.new_id("inv"), offer=offer)
    try:
        with bridge.store.write(joins=True) as tx:
            _require_stage_room(tx, bridge, asked)
            answered = prepared.write(tx)
            bridge.crash_point("open.committing")
    except Refused:
        with bridge.store.write() as tx:
            _free_claims(tx, asked, needs)
        raise
    except (Duplicate, _ClaimLost):
        with bridge.store.read() as tx:
            is_used = wallets.is_used(tx, offer.text)
        if is_used:
            raise _not_opened(bridge, asked, needs, code="address_repeated") from None
        with bridge.store.write() as tx:
            _free_claims(tx, asked, needs)
        return None
    bridge.crash_point("open.committed")
    return answered


def _wanted(bridge: Bridge, asked: _Asked, quote: Quote) -> Wanted:
    """The same for every try at the same price."""
    payment, due_units = asked.request.billing_payment_id, quote.due_sat
    reference = f"{asked.merchant.id}:{payment}:{due_units}"
    return Wanted(due_units=due_units, reference=reference, memo=memo_of(bridge, payment))


def _not_opened(bridge: Bridge, asked: _Asked, needs: _NeedsAddress, *, code: str) -> Unavailable:
    """Frees the claims for the next try. An address that is wrong or was seen before is a person's business too."""
    billing_payment_id = asked.request.billing_payment_id
    log("invoice.not_opened", billing_payment_id=billing_payment_id, merchant=asked.merchant.id, code=code)
    with bridge.store.write() as tx:
        _free_claims(tx, asked, needs)
        if kind := SUSPICIOUS_ADDRESS.get(code):
            what = {"billing_payment_id": billing_payment_id, "code": code}
            open_loose_review(tx, bridge, merchant=asked.merchant.id, kind=kind, what=what, now=asked.now)
    return Unavailable("provider_unavailable", "The wallet gateway gave no usable address.", retry_after_seconds=30)


def _free_claims(tx: Tx, asked: _Asked, needs: _NeedsAddress) -> None:
    """Neither, where the claim is another request's by now: the key may be its too."""
    if idempotency.end_opening(tx, owner=needs.owner or "", **_billing(asked)).first() is not None:
        idempotency.forget(tx, asked.scope)


def _require_stage_room(tx: Tx, bridge: Bridge, asked: _Asked, *, instead_of: str = "") -> None:
    require_stage_room(
        tx,
        bridge,
        asked.merchant,
        currency=asked.request.currency,
        minor=asked.amount_minor,
        now=asked.now,
        instead_of=instead_of,
    )


def _billing(asked: _Asked) -> dict[str, str]:
    return {"merchant": asked.merchant.id, "billing_payment_id": asked.request.billing_payment_id}


def _rule_for(tx: Tx, asked: _Asked, *, open_now: int) -> Rule:
    merchant, customer_id = asked.merchant, asked.request.customer_id
    if not customer_id:
        return merchant.policy.rule_for(asked.request.tier)
    if open_now >= merchant.open_invoices_per_customer:
        raise Refused("too_many_open", "This customer has too many open invoices.", field="customer")
    failed = 0
    if merchant.policy.exact_tier is not None:
        failed = invoices.failed_in_a_row(
            tx, merchant=merchant.id, customer_id=customer_id, at_most=merchant.policy.failed_attempts_before_exact
        )
    return merchant.policy.rule_for(asked.request.tier, failed_attempts=failed)


def _first_quote(bridge: Bridge, asked: _Asked, rule: Rule) -> Quote:
    amount_minor, rate = asked.amount_minor, asked.rate_or_raise()
    quote = offer(version=1, base_minor=amount_minor, amount_minor=amount_minor, rate=rate, rule=rule, now=asked.now)
    if quote.due_sat > MAX_MONEY_SAT:
        raise Refused("invalid_amount", "The amount is more than all bitcoin there will ever be.", field="amount")
    if quote.due_sat < rule.minimum_sat:
        raise Refused("below_minimum", f"The smallest invoice is {rule.minimum_sat} satoshi.", field="amount")
    refuse_amount(bridge.receiving, quote.due_sat)
    return quote


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A new invoice with everything that belongs to it, decided before anybody has to wait for its transaction."""

    together: Together
    claim: Part | None
    answered: Answered

    def write(self, tx: Tx) -> Answered:
        """Raises _ClaimLost or Duplicate when the claim or the address is not ours; the transaction must end then."""
        self.together.run(tx)
        # Only who still holds the claim may insert, and whoever takes it next waits for this commit.
        if self.claim is not None and self.claim.value is None:
            raise _ClaimLost
        return self.answered


def _prepared(bridge: Bridge, asked: _Asked, needs: _NeedsAddress, *, invoice_id: str, offer: Offer) -> _Prepared:
    rate, together = asked.rate_or_raise(), Together()
    claim = idempotency.end_opening(together, owner=needs.owner, **_billing(asked)) if needs.owner else None
    row = _new_row(bridge, asked, needs.rule, needs.quote, invoice_id=invoice_id, address=offer.text)
    samples = samples_json(rate)
    target = offered(bridge.receiving, offer, due_units=needs.quote.due_sat, now=asked.now)
    recorded = record_first(together, bridge, row, needs.quote, target, samples=samples, now=asked.now, actor="module")
    answered = _answer(together, bridge, asked, recorded, status=201, is_begun=claim is not None)
    return _Prepared(together=together, claim=claim, answered=answered)


def _new_row(
    bridge: Bridge, asked: _Asked, rule: Rule, quote: Quote, *, invoice_id: str, address: str
) -> dict[str, Any]:
    request, now = asked.request, asked.now
    expires_at = now + timedelta(seconds=rule.invoice_expiry_seconds)
    token = bridge.callback_token(invoice_id)
    # What is carried comes first: it replaces nothing that is known here.
    return dict(request.carried) | {
        "id": invoice_id,
        "public_id": bridge.new_public_id(),
        "merchant": asked.merchant.id,
        "billing_payment_id": request.billing_payment_id,
        "amount_minor": asked.amount_minor,
        "currency": request.currency,
        "customer_id": request.customer_id,
        "tier": request.tier,
        "document": document_of(request.carried.get("description", "")),
        "trace_id": tracing.current_or_new(),
        "network": bridge.network,
        "wallet_id": bridge.wallet_id,
        "address": address,
        "callback_token_sha256": hashlib.sha256(token.encode()).hexdigest(),
        "rule": rule.name,
        "rule_terms": rule.terms(),
        "policy_version": asked.merchant.policy.version,
        "status": "new",
        "exception": "none",
        "reason": "awaiting_payment",
        "remaining_sat": quote.due_sat,
        "created_at": now,
        "updated_at": now,
        "expires_at": expires_at,
        "monitor_until": expires_at + timedelta(seconds=rule.monitor_seconds),
        "next_look_at": now,
    }


def _again(tx: Tx, bridge: Bridge, asked: _Asked, row: Any) -> Answered | BridgeError:
    """The billing payment has an invoice: the same, re-opened or re-quoted; a changed amount only while nothing came."""
    is_changed = (asked.amount_minor, asked.request.currency) != (row.amount_minor, row.currency)
    # What only the gateway has seen yet is money too.
    has_money = row.received_sat > 0 or bool(row.provider_sat) or row.settled_at is not None
    if is_changed and has_money:
        if row.settled_at is None:
            facts = {"billing_change": "amount"}
            record(tx, bridge, row, now=asked.now, actor="module", action="amount_changed", facts=facts)
        idempotency.forget(tx, asked.scope)
        return Conflict("amount_changed", "Money has arrived for another amount; a person must decide.", field="amount")
    quotes = invoices.quotes_of(tx, row.id)
    is_lapsed = quotes[-1].expires_at <= asked.now or row.status == "expired"
    if is_changed or (is_lapsed and row.status in ("new", "expired") and row.hold is None):
        try:
            if is_changed:
                _first_quote(bridge, asked, rule_of(row))  # a changed amount has the limits of a first one
                _require_stage_room(tx, bridge, asked, instead_of=row.id)
            recorded = renew(
                tx, bridge, row, rate=asked.rate_or_raise(), now=asked.now, amount_minor=asked.amount_minor
            )
        except Unavailable as error:
            idempotency.forget(tx, asked.scope)
            return error
    else:
        recorded = record(tx, bridge, row, now=asked.now, actor="module", action="opened_again")
    return _answer(tx, bridge, asked, recorded, status=200)


def renew(
    tx: Tx,
    bridge: Bridge,
    row: Any,
    *,
    rate: Rate,
    now: datetime,
    amount_minor: int | None = None,
    actor: str = "module",
) -> Recorded:
    """The next quote version on the same invoice and address; an expired invoice with nothing received opens again."""
    if rate.currency != row.currency and row.received_sat > 0:
        raise Conflict("amount_changed", "Money has arrived in another currency.", field="currency")
    rule = rule_of(row)
    quotes, payments = invoices.quotes_of(tx, row.id), invoices.payments_of(tx, row.id)
    facts: dict[str, Any] = {"amount_minor": amount_minor or row.amount_minor, "currency": rate.currency}
    base_minor = remaining_minor(
        [p for p in payments if not p.replaced],
        quotes=[q for q in quotes if q.currency == rate.currency],
        amount_minor=facts["amount_minor"],
        rule=rule,
    )
    if row.received_sat == 0:
        expires_at = now + timedelta(seconds=rule.invoice_expiry_seconds)
        facts |= {"expires_at": expires_at, "monitor_until": expires_at + timedelta(seconds=rule.monitor_seconds)}
        facts |= {"billing_change": None}
    if base_minor > 0:
        quote = offer(
            version=quotes[-1].version + 1,
            base_minor=base_minor,
            amount_minor=facts["amount_minor"],
            rate=rate,
            rule=rule,
            now=now,
        )
        samples = samples_json(rate)
        invoices.add_quote(tx, row.id, quote, now=now, policy_version=row.policy_version, samples=samples)
        bridge.metrics.quotes.labels(outcome="made").inc()
    return record(tx, bridge, row, now=now, actor=actor, action="quoted_again", facts=facts)


def _answer(
    tx: Tx | Together, bridge: Bridge, asked: _Asked, recorded: Recorded, *, status: int, is_begun: bool = True
) -> Answered:
    """`is_begun`: whether the key is claimed; else it comes with its answer."""
    body = recorded_text(bridge, recorded, sequence=recorded.invoice.sequence)
    kept: dict[str, Any] = {
        "answer_status": status,
        "answer": body,
        "invoice_id": recorded.invoice.id,
        "quote_version": recorded.quote.version,
        "address": recorded.invoice.address,
        "settlement_status": recorded.invoice.status,
    }
    if is_begun:
        idempotency.finish(tx, asked.scope, **kept)
    elif isinstance(tx, Together):
        idempotency.keep(tx, asked.scope, body_sha256=asked.body_sha256, now=asked.now, **kept)
    return Answered(status=status, body=body)
