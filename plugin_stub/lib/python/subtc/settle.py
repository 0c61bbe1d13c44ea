"""The one door between an invoice of the bridge and a status in BILLmanager; push and pull both lead here.

Owns comparing, the status table, the call and the reading back; must not know how an event arrived.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

from subtc import log, mgrctl, payment, place, state
from subtc.invoice import Event, Invoice, Malformed, Received, read_invoice
from subtc.payment import BillingPayment
from subtc.settings import Settings
from subtc.state import Record

DONE = "done"
UNVERIFIED = "unverified"
MISMATCH = "mismatch"
CONFLICT = "conflict"
LATER = "later"

_WAYS = {"bitcoin": "on-chain", "lightning": "over Lightning"}
# Nobody says how long an info may be: two transactions are common, a crowd is not.
MOST_NAMED = 3


class Outcome(NamedTuple):
    """DONE: nothing left to do. UNVERIFIED: not from the method's bridge. MISMATCH: other money than the payment's.

    CONFLICT: a person must look. LATER: nothing is lost, try again.
    """

    verdict: str
    reason: str


class CannotTell(Exception):
    """What would have to be known before a decision is not known now; a later try may know it."""


def settle(event: Event, invoice: Invoice, *, vouch: Callable[[Settings], bool]) -> Outcome:
    """Bring the billing payment to what the bridge says. Idempotent; safe to race with itself.

    `vouch` says whether the event is genuine for the settings of the payment's own method: a bridge can only speak
    about payments of a method that names it. It may raise CannotTell.
    """
    before = log.trace()
    log.follow(invoice.trace)
    try:
        with state.payment_lock(invoice.elid):
            outcome = _decide(event, invoice, vouch)
    except payment.Unreadable as err:
        outcome = Outcome(LATER, f"payment_unreadable: {err}")
    except mgrctl.MgrctlDown as err:
        outcome = Outcome(LATER, f"mgrctl_down: {err}")
    except mgrctl.Refused as err:
        outcome = Outcome(LATER, f"mgrctl_refused: {err}")
    except CannotTell as err:
        outcome = Outcome(LATER, str(err))
    except state.Busy:
        outcome = Outcome(LATER, "payment_locked")
    except OSError as err:
        # Without durable state a credit could not be told from somebody else's later.
        outcome = Outcome(LATER, f"state_not_writable: {err.strerror}")
    write = log.info if outcome.verdict == DONE else log.warning if outcome.verdict == LATER else log.error
    write(
        "settle",
        event=event.id,
        type=event.type,
        elid=invoice.elid,
        invoice=invoice.id,
        verdict=outcome.verdict,
        reason=outcome.reason,
    )
    log.follow(before)
    return outcome


def _decide(event: Event, invoice: Invoice, vouch: Callable[[Settings], bool]) -> Outcome:
    try:
        found = payment.load(invoice.elid)
    except payment.Foreign:
        return Outcome(UNVERIFIED, "payment_of_another_module")
    except mgrctl.Refused as err:
        if err.payment_is_gone():
            return Outcome(CONFLICT, "payment_deleted")
        raise
    if not vouch(found.settings):
        return Outcome(UNVERIFIED, "not_vouched_for")
    difference = compare(invoice, found)
    if difference:
        return Outcome(MISMATCH, difference)
    if event.type == "invoice.settled" and (invoice.status != "settled" or invoice.hold):
        return Outcome(MISMATCH, "settled_event_without_settled_invoice")
    record = state.load_record(found.elid)
    if invoice.status == "settled" and not invoice.hold:
        return _pay(invoice, found, record)
    if event.type == "invoice.cancelled":
        return _cancel(invoice, found, record)
    if invoice.status == "processing" and found.status in (1, 8):
        set_in_pay(found, invoice.id)
        return Outcome(DONE, "set_in_pay")
    if found.status == payment.IN_PAY and found.externalid == invoice.id and place.switches().notes:
        return _note(invoice, found, record)
    return Outcome(DONE, "nothing_to_do")


def _note(invoice: Invoice, found: BillingPayment, record: Record | None) -> Outcome:
    """Say in BILLmanager what staff and reminders should know of an open payment; nothing rests on it."""
    record = record or new_record(invoice, found)
    words = "; under review by a person, do not remind or cancel" if invoice.hold else ""
    words += f"; time to pay was given until {invoice.grace_until} UTC" if invoice.grace_until else ""
    if words == record.noted:
        return Outcome(DONE, "nothing_to_do")
    state.save_record(record._replace(noted=words))
    link = f"; {invoice.payment_url}" if words else ""
    info = f"Bitcoin invoice {invoice.id}{words}{link}"
    _try("payment.setinpay", elid=found.elid, externalid=invoice.id, info=info)
    return Outcome(DONE, "noted")


def compare(invoice: Invoice, found: BillingPayment) -> str:
    """What differs between invoice and payment, or nothing. Numbers as Decimal: 10, 10.0 and 10.00 agree."""
    if invoice.charge != found.charge:
        return "amount"
    if invoice.currency != found.currency:
        return "currency"
    if found.externalid not in ("", invoice.id):
        return "invoice_id"
    return ""


def _pay(invoice: Invoice, found: BillingPayment, record: Record | None) -> Outcome:
    if found.status in (4, 5, 6):
        return _already_paid(invoice, found, record)
    # After our own cancel the money is late but welcome; after anybody else's a person decides, here or at the bridge.
    late = found.status == payment.CANCELLED and (
        (record is not None and record.cancelled_by_us) or invoice.exception == "marked"
    )
    if found.status not in payment.PAYABLE and not late:
        return Outcome(CONFLICT, f"status_{found.status}")
    record = (record or new_record(invoice, found))._replace(paid_by_us=True, closed=False)
    state.save_record(record)
    _try(
        "payment.setpaid",
        elid=found.elid,
        externalid=invoice.id,
        info=f"Bitcoin invoice {invoice.id} settled, received {invoice.received_sat} sat" + _named(invoice.payments),
    )
    after = payment.load(found.elid)  # the answer above may be lost or wrong; only the status counts
    if after.status != payment.PAID:
        return Outcome(LATER, f"status_still_{after.status}")
    if after.externalid != invoice.id:
        return Outcome(CONFLICT, "paid_for_another_invoice")
    state.close_record(record)
    return Outcome(DONE, "set_paid")


def _named(payments: Sequence[Received]) -> str:
    """How the money came, the largest first: what people search for in a wallet or on the chain."""
    largest = sorted(payments, key=lambda each: each.amount_sat, reverse=True)
    told = [f"{each.amount_sat} sat {_WAYS.get(each.way, each.way)} {each.at} UTC{_name(each)}" for each in largest]
    more = [f"{len(told) - MOST_NAMED} more"] if len(told) > MOST_NAMED else []
    return "".join(f"; {each}" for each in told[:MOST_NAMED] + more)


def _name(received: Received) -> str:
    if received.payment_hash:
        return f", payment hash {received.payment_hash}"
    return f", txid {received.txid}" if received.txid else ""


def _already_paid(invoice: Invoice, found: BillingPayment, record: Record | None) -> Outcome:
    ours = found.externalid == invoice.id and (record is None or record.paid_by_us)
    if not ours:
        # Somebody else marked it paid while our invoice was open: the client may have paid twice.
        return Outcome(CONFLICT, "paid_otherwise")
    if record is not None:
        state.close_record(record)
    return Outcome(DONE, "already_paid")


def _cancel(invoice: Invoice, found: BillingPayment, record: Record | None) -> Outcome:
    if invoice.received_sat:
        return Outcome(CONFLICT, "cancelled_with_money")
    if found.status not in payment.PAYABLE:
        return Outcome(DONE, f"left_at_{found.status}")
    now = _as_it_is_now(invoice, found)
    if now.status not in ("expired", "invalid") or now.hold or now.received_sat:
        # An old message, or one out of its place: the invoice was opened again, or money is on its way or in question.
        return Outcome(DONE, "cancel_outdated")
    record = record or new_record(invoice, found)
    state.save_record(record._replace(cancelled_by_us=True))
    refusal = _try(
        "payment.setcanceled",
        elid=found.elid,
        externalid=invoice.id,
        info=f"Bitcoin invoice {invoice.id} expired, nothing was received",
    )
    if refusal is not None and refusal.unknown_function():
        # BILLmanager 5 has no such status: the payment stays as it is (contract 16).
        state.save_record(record._replace(closed=True))
        return Outcome(DONE, "version_5_left_open")
    if payment.load(found.elid).status != payment.CANCELLED:
        return Outcome(LATER, "not_cancelled")
    state.save_record(record._replace(cancelled_by_us=True, closed=True))
    return Outcome(DONE, "set_cancelled")


def _as_it_is_now(invoice: Invoice, found: BillingPayment) -> Invoice:
    """Only the pay page opens an invoice again, and it waits for the lock that we hold. Raises CannotTell."""
    from subtc import bridge  # a push needs the network for nothing else, and is quicker without it

    try:
        now = read_invoice(bridge.get_invoice(found.settings, invoice.id))
    except (bridge.BridgeDown, bridge.BridgeRefused, Malformed) as err:
        raise CannotTell(f"invoice_unreadable: {err}") from err
    if now.id != invoice.id or now.elid != found.elid:
        raise CannotTell("invoice_unreadable: the answer is about another one")
    return now


def set_in_pay(found: BillingPayment, invoice_id: str) -> None:
    """Status 2 with our invoice as external id. Raises mgrctl.MgrctlDown or mgrctl.Refused."""
    mgrctl.call("payment.setinpay", elid=found.elid, externalid=invoice_id, info=f"Bitcoin invoice {invoice_id}")


def _try(func: str, *, elid: str, externalid: str, info: str) -> mgrctl.Refused | None:
    """Make the call and swallow its failure: what follows is always a reading back."""
    try:
        mgrctl.call(func, elid=elid, externalid=externalid, info=info)
    except mgrctl.MgrctlDown as err:
        log.warning("mgrctl.no_answer", func=func, elid=elid, error=err)
    except mgrctl.Refused as err:
        log.error("mgrctl.refused", func=func, elid=elid, error=err)
        return err
    return None


def new_record(invoice: Invoice, found: BillingPayment) -> Record:
    """A record of a payment the state directory does not know (any more)."""
    return Record(
        elid=found.elid,
        invoice=invoice.id,
        source=found.settings.source,
        method=found.method_id,
        charge=str(found.charge),
        currency=found.currency,
        address=invoice.address,
    )
