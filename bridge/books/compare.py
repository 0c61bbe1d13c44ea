"""Our books against what others say: one invoice's address and journals, a wallet as a whole, the billing system.

Owns these reads of a reconciliation; what a difference means is `core.reconciliation`'s.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.addresses import check_payable
from bridge.core.clock import CLOCK_TOLERANCE, believed
from bridge.core.coverage import Horizon, gap_of
from bridge.core.credit import Payment
from bridge.core.errors import BridgeError, Refused
from bridge.core.evidence import WalletBalance
from bridge.core.invoice import decide
from bridge.core.ledger import Books
from bridge.core.money import to_minor
from bridge.core.payout import LIGHTNING_ROLE
from bridge.core.rail import Target, most_route_sat
from bridge.core.reconciliation import (
    BillingWord,
    Finding,
    OurWord,
    compare_billing,
    compare_books,
    compare_outputs,
    compare_records,
    compare_total,
    unknown_payment,
    wallet_variance,
)
from bridge.invoices.chain import read_chain
from bridge.invoices.record import rule_of
from bridge.invoices.targets import accounts_beside, all_of, paid_to, told_by
from bridge.logs import log
from bridge.permit import may_call_provider
from bridge.store import invoices, ledger, payouts, wallets
from bridge.store import targets as target_rows
from bridge.store.db import Tx
from bridge.store.invoice_pages import InvoiceFacts
from bridge.turns import draw_call, take_calls

MSAT = 1_000
_NEVER = ("expired", "invalid")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found about one invoice."""

    invoice_id: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What chain and gateway said of one address. `is_starved`: there was no call left to ask with."""

    findings: tuple[Finding, ...] = ()
    has_news: bool = False
    read: int = 0
    unread: int = 0
    is_starved: bool = False


def booked_books(bridge: Bridge, facts: InvoiceFacts) -> Books:
    """The books as the invoice's journals say them, each target's money on its own account."""
    beside = accounts_beside(all_of(facts.targets, bridge, facts.row))
    return Books.of_balances(facts.balances, beside=beside.values())


def rebuilt_books(bridge: Bridge, facts: InvoiceFacts) -> Books:
    """The books by the decision of the moment the invoice last changed, made again from nothing but facts."""
    row, targets = facts.row, all_of(facts.targets, bridge, facts.row)
    decision = decide(
        facts.decided_on(**told_by(bridge, targets)),
        quotes=facts.quotes(),
        payments=facts.payments,
        now=row.updated_at,
        rule=rule_of(row),
    )
    beside = accounts_beside(targets)
    return Books.of_decision(decision, amount_minor=row.amount_minor, verdict=row.verdict, beside=beside)


def ledger_findings(bridge: Bridge, facts: InvoiceFacts) -> tuple[Finding, ...]:
    """The journals against the facts, and what can never be right."""
    records = compare_records(
        unbalanced=facts.unbalanced_journals,
        settled_events=facts.settled_events,
        shared_outputs=facts.shared_outputs,
    )
    return compare_books(booked_books(bridge, facts), rebuilt_books(bridge, facts)) + records


def outside(bridge: Bridge, facts: InvoiceFacts, *, polls: bool, held_to: Horizon) -> Outside:
    """Reads every target again where money lies or is awaited, and compares."""
    row = facts.row
    if not facts.payments and row.status in _NEVER and row.closed_at is not None:
        return Outside()
    first, *beside = all_of(facts.targets, bridge, row)
    paid = paid_to(facts.payments, (first, *beside))
    said = [_outside(bridge, row, first, paid[0], polls=polls, held_to=held_to)]
    for target, known in zip(beside, paid[1:], strict=True):
        said.append(_outside(bridge, row, target, known, polls=False, held_to=held_to))
    return Outside(
        findings=tuple(finding for each in said for finding in each.findings),
        has_news=any(each.has_news for each in said),
        read=sum(each.read for each in said),
        unread=sum(each.unread for each in said),
        is_starved=any(each.is_starved for each in said),
    )


def _outside(
    bridge: Bridge, row: Any, target: Target, known: Sequence[Payment], *, polls: bool, held_to: Horizon
) -> Outside:
    """One target against its own witnesses; `known` are the payments that came to it."""
    now = bridge.clock()
    found, has_news, read, unread = list[Finding](), False, 0, 0
    evidence = bridge.evidence_of(target)
    try:
        if evidence is not None:
            reading = read_chain(evidence, row, target, payments=known, now=now)
            # A payment that is not shown is what a person should see; what was not searched shows nothing.
            gap = gap_of(reading, born_at=row.created_at, horizon=held_to.of(target))
            is_covered = gap in ("", "payment_not_shown")
            last_read_at = believed(row.chain_asked_at, now=now)
            compared = compare_outputs(known, reading.outputs, last_read_at=last_read_at, is_covered=is_covered)
            found, has_news, read = [*compared.findings], compared.has_news, int(is_covered)
            unread = 1 - read
        reader = bridge.reader_of(target.wallet_id)
        if reader is None:
            unread = 1 - read
        if polls and reader is not None:
            allowed = _may_poll(bridge, target.wallet_id, now)
            if allowed != "yes":
                return Outside(findings=tuple(found), has_news=has_news, unread=1, is_starved=allowed == "later")
            expected_sat = max(row.remaining_sat + row.received_sat, 1)
            polled = reader.poll(address=target.text, expected_sat=expected_sat, asked_at=now)
            total = compare_total(known, provider_sat=polled.received_sat, last_provider_sat=row.provider_sat)
            found, has_news, read = [*found, *total.findings], has_news or total.has_news, read + 1
    except BridgeError:
        return Outside(findings=tuple(found), has_news=has_news, read=read, unread=1)
    return Outside(findings=tuple(found), has_news=has_news, read=read, unread=unread)


def _may_poll(bridge: Bridge, wallet_id: str, now: datetime) -> str:
    """yes, no (the wallet is paused) or later: half of the gateway's calls stay with those who wait for their money."""
    with bridge.store.write() as tx:
        if not may_call_provider(tx, wallet_id):
            return "no"
        return "yes" if take_calls(tx, bridge, now=now, purpose="reconcile") else "later"


def billing_findings(
    bridge: Bridge, facts: InvoiceFacts, covered: tuple[datetime, datetime] | None
) -> Iterable[Finding]:
    row = facts.row
    ours = OurWord(
        invoice_id=row.id,
        status=row.status,
        minor=row.amount_minor,
        currency=row.currency,
        received_sat=row.received_sat,
        settled_at=row.settled_at,
        created_at=row.created_at,
    )
    is_covered = covered is not None and covered[0] <= row.created_at
    return compare_billing(
        ours,
        _word(facts.billing) if facts.billing is not None else None,
        covered_at=covered[1] if covered is not None and is_covered else None,
        grace=timedelta(seconds=bridge.reconciliation.billing_grace_seconds),
    )


def unknown_finding(bridge: Bridge, row: Any, *, born_at: datetime) -> Finding | None:
    """A payment of the billing system's that has no invoice here, with what came to the address that it was given."""
    word, its = _word(row), {"billing_payment_id": row.billing_payment_id}
    found = unknown_payment(word, **its)
    held_sat = _held_sat(bridge, row.address, born_at=born_at) if found is not None and row.address else 0
    return unknown_payment(word, **its, address=row.address, held_sat=held_sat)


def _held_sat(bridge: Bridge, address: str, *, born_at: datetime) -> int:
    """What the chain shows on an address that only the billing system still knows."""
    try:
        check_payable(address, network=bridge.network)
        reading = bridge.chain.read(address, born_at=born_at, asked_at=bridge.clock()) if bridge.chain else None
    except BridgeError as error:
        log("reconciliation.forgotten_address_unread", code=error.code)
        return 0
    return sum(output.amount_sat for output in reading.outputs) if reading is not None else 0


def _word(row: Any) -> BillingWord:
    try:
        minor = to_minor(row.amount_text, row.currency)
    except Refused:
        minor = None
    return BillingWord(
        status=row.status,
        minor=minor,
        currency=row.currency,
        external_id=row.external_id,
        reported_at=row.reported_at,
    )


def wallet_variances(bridge: Bridge) -> tuple[dict[str, int], int]:
    """The wallets of each role minus their books in satoshi, and of how many roles a wallet did not answer.

    Books first, and what may still come or leave with them, then wallets. What a former wallet of a role still holds stands on the same
    account of the books.
    """
    found: dict[str, int] = {}
    by_role, since = bridge.told_by_role, bridge.clock() - CLOCK_TOLERANCE
    for role, told in by_role.items():
        # Only over Lightning money is there at once, and finer than satoshi.
        at_once = tuple(told) if role == LIGHTNING_ROLE else ()
        with bridge.store.read() as tx:
            leaving_sat = sum(_leaving_sat(tx, bridge, wallet_id) for wallet_id in told)
            booked = ledger.sums(tx, (f"wallet:{role}", "inflight:unconfirmed"))
            baseline_sat = sum(wallets.baseline_sat(tx, wallet_id) for wallet_id in told)
            rest_sat = sum(_rest_sat(tx, wallet_id, since=since) for wallet_id in at_once)
        balance = _together(bridge, role, told)
        if balance is None:
            continue
        found[role] = wallet_variance(
            balance,
            baseline_sat=baseline_sat,
            confirmed_sat=booked[f"wallet:{role}"],
            # Clients pay into the hot wallet alone.
            unconfirmed_sat=booked["inflight:unconfirmed"] if role == "hot" else 0,
            leaving_sat=leaving_sat,
            by_depth=bridge.chain is not None,
            rest_sat=rest_sat,
        )
    return found, len(by_role) - len(found)


def _leaving_sat(tx: Tx, bridge: Bridge, wallet_id: str) -> int:
    """What sends whose outcome is not booked yet may have taken, with what a route may have cost."""
    sat, rail = payouts.leaving_sat(tx, wallet_id=wallet_id), bridge.rail_of(wallet_id)
    is_routed = sat > 0 and rail is not None and rail.payees is not None
    return sat + most_route_sat(sat, most_bps=rail.most_route_bps) if is_routed and rail is not None else sat


def _rest_sat(tx: Tx, wallet_id: str, *, since: datetime) -> int:
    """The most that a wallet can hold beyond what was booked of it: the rests of a satoshi of what came, less than one satoshi for each
    fee, because those are booked as whole ones too, and what is paid before any look saw it.
    """
    fees = payouts.count_with_fee(tx, wallet_id=wallet_id)
    rest_msat = invoices.rest_msat(tx, wallet_id=wallet_id) + (MSAT - 1) * fees
    return rest_msat // MSAT + target_rows.awaited_units(tx, wallet_id, since=since)


def _together(bridge: Bridge, role: str, told: Mapping[str, Callable[[], WalletBalance]]) -> WalletBalance | None:
    """What the wallets of a role hold together; None when one of them does not answer."""
    total = WalletBalance(balance_sat=0, confirmed_sat=0, unconfirmed_sat=0, immature_sat=0)
    for wallet_id, balance in told.items():
        try:
            draw_call(bridge, rail=bridge.rail_of(wallet_id))
            read = balance()
        except BridgeError as error:
            log("reconciliation.wallet_unread", role=role, wallet_id=wallet_id, code=error.code)
            return None
        total = WalletBalance(**{name: sat + getattr(read, name) for name, sat in vars(total).items()})
    return total
