"""Reconciliation: our books against gateway, chain and billing system, page by page, by hand and when it is due.

Owns the runs, their order, and what they found as people, gauges and the alert see it; what differs is `books.compare`'s to say.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bridge.books.compare import Findings, billing_findings, ledger_findings, outside, unknown_finding, wallet_variances
from bridge.context import Bridge
from bridge.core.errors import BridgeError, Refused, there
from bridge.core.reconciliation import SIDES, Finding
from bridge.invoices.chain import horizon
from bridge.invoices.observe import look
from bridge.invoices.present import time_text
from bridge.invoices.record import open_loose_review, open_review
from bridge.logs import log
from bridge.permit import acting, check_actor, require_words
from bridge.store import audit, generation, invoice_pages, invoices, leases, reconciliations, wallets
from bridge.store.db import Tx, queue_up

PHASES = ("invoices", "billing", "wallet")
PAGE = 200
SHOWN_FINDINGS = 50


@dataclass(kw_only=True)
class Run:
    """A run under way. `counts` is all that survives a step; `wants_polls`: whether each address is asked at the gateway."""

    id: str
    from_at: datetime
    to_at: datetime
    phase: str
    cursor: str
    counts: Counter[str]
    wants_polls: bool
    is_over: bool = False
    looks: list[str] = field(default_factory=list)


def start_reconciliation(
    bridge: Bridge, *, actor: str, reason: str, from_at: datetime | None = None, to_at: datetime | None = None
) -> str:
    """A person begins a run; its id. Without times it covers the configured days up to now.

    A run under way is returned instead of a second one. Every invoice's journals are checked; addresses and the billing
    system of invoices that moved in [from_at, to_at). Raises Refused (actor_and_reason_required, forbidden, empty_period).
    """
    require_words(actor, reason)
    now = bridge.clock()
    from_at, to_at = from_at or now - timedelta(days=bridge.reconciliation.days), to_at or now
    if from_at >= to_at:
        raise Refused("empty_period", "The period ends before it begins.", field="to")
    check_actor(bridge, actor, "books.export")
    return _begin(bridge, actor=actor, reason=reason, from_at=from_at, to_at=to_at, now=now)


def start_scheduled(bridge: Bridge) -> str:
    """Begins the run that a schedule asks for, the worker's or a timer's; its id, or that of the run under way."""
    now = bridge.clock()
    from_at = now - timedelta(days=bridge.reconciliation.days)
    return _begin(bridge, actor="worker", reason="", from_at=from_at, to_at=now, now=now, is_scheduled=True)


def _begin(
    bridge: Bridge,
    *,
    actor: str,
    reason: str,
    from_at: datetime,
    to_at: datetime,
    now: datetime,
    is_scheduled: bool = False,
) -> str:
    with bridge.store.read() as tx:
        under_way, total = reconciliations.unfinished(tx), invoices.count(tx)
    if under_way is not None:
        return str(under_way.id)
    variances, _unread = wallet_variances(bridge)
    run_id = bridge.new_id("rec")
    # The chain is asked in any case; the gateway about each address only when its wallet does not add up.
    counts = {"total": total, "wants_polls": int(bridge.chain is None or any(variances.values()))}
    with bridge.store.write() as tx:
        # Whoever else asked the gateway meanwhile has begun one.
        queue_up(tx, "reconcile")
        under_way = reconciliations.unfinished(tx)
        if under_way is not None:
            return str(under_way.id)
        reconciliations.start(
            tx,
            reconciliation_id=run_id,
            actor=actor,
            is_scheduled=is_scheduled,
            from_at=from_at,
            to_at=to_at,
            now=now,
            phase=PHASES[0],
            counts=counts,
        )
        if not is_scheduled:
            detail = {"reconciliation": run_id, "from": time_text(from_at), "to": time_text(to_at)}
            audit.write(tx, at=now, actor=actor, action="reconciliation_asked", reason=reason, detail=detail)
    log("reconciliation.started", reconciliation_id=run_id)
    return run_id


def step(bridge: Bridge, run_id: str, *, limit: int = PAGE) -> Run:
    """Does the next page of a run and saves where it stands. `is_over` when nothing is left; doing it again is harmless."""
    run = _load(bridge, run_id)
    was_over = run.is_over
    if was_over:
        return run
    {"invoices": _invoices, "billing": _billing, "wallet": _wallet}[run.phase](bridge, run, limit)
    now = bridge.clock()
    with bridge.store.write() as tx:
        reconciliations.advance(
            tx, run.id, phase=run.phase, cursor=run.cursor, counts=run.counts, now=now, is_over=run.is_over
        )
    if run.is_over:
        log("reconciliation.finished", reconciliation_id=run.id, findings=run.counts["findings"])
    return run


def _load(bridge: Bridge, run_id: str) -> Run:
    with bridge.store.read() as tx:
        row = there(reconciliations.find(tx, run_id), "unknown_reconciliation", "reconciliation")
    counts = Counter(row.counts)
    return Run(
        id=row.id,
        from_at=row.from_at,
        to_at=row.to_at,
        phase=row.phase,
        cursor=row.cursor,
        counts=counts,
        wants_polls=bool(counts["wants_polls"]),
        is_over=row.finished_at is not None,
    )


def _invoices(bridge: Bridge, run: Run, limit: int) -> None:
    """One page of invoices: journals of all, outside and billing of those that moved in the period."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        page = invoice_pages.page(tx, after=run.cursor, limit=limit)
        covered = {merchant: reconciliations.covered(tx, merchant, now=now) for merchant in bridge.merchants}
        held_to = horizon(tx, bridge, now=now)
    found, last_id = list[Findings](), run.cursor
    for facts in page:
        in_period = run.from_at <= facts.row.updated_at and facts.row.created_at < run.to_at
        findings = list(ledger_findings(bridge, facts))
        if in_period:
            findings += billing_findings(bridge, facts, covered.get(facts.row.merchant))
            seen = outside(bridge, facts, polls=run.wants_polls, held_to=held_to)
            if seen.is_starved:
                # The gateway's calls of this minute are used up: go on from here with the next step.
                break
            run.counts.update(read=seen.read, unread=seen.unread, caught_up=seen.has_news)
            findings += seen.findings
            if seen.findings or seen.has_news:
                run.looks.append(facts.row.id)
        if findings:
            found.append(Findings(invoice_id=facts.row.id, findings=tuple(findings)))
        last_id = facts.row.id
        run.counts["checked"] += 1
    _keep(bridge, run, found)
    # In read_only mode nothing may move: what differs is found and shown, the looks come with the switch back.
    if run.looks and not _is_read_only(bridge):
        for invoice_id in run.looks:
            _look(bridge, invoice_id)
    run.cursor = last_id
    if len(page) < limit and (not page or last_id == page[-1].row.id):
        run.phase, run.cursor = "billing", ""


def _is_read_only(bridge: Bridge) -> bool:
    with bridge.store.read() as tx:
        return leases.mode_of(tx) == "read_only"


def _look(bridge: Bridge, invoice_id: str) -> None:
    try:
        look(bridge, invoice_id, actor="reconcile")
    except BridgeError as error:
        # Somebody else wrote the invoice meanwhile, or no world answered: the schedule goes on.
        log("reconciliation.not_looked", invoice_id=invoice_id, code=error.code)


def _keep(bridge: Bridge, run: Run, found: list[Findings]) -> None:
    """Keeps findings and opens their review items. What only the journals say is read again under the invoice's lock:
    a payment may have been recorded between two of our reads.
    """
    if not found:
        return
    now = bridge.clock()
    with bridge.store.write() as tx:
        for each in found:
            row = invoices.find(tx, lock=True, id=each.invoice_id)
            if row is None:
                continue
            again = ledger_findings(bridge, invoice_pages.of_ids(tx, [each.invoice_id])[each.invoice_id])
            lasting = [*again, *(f for f in each.findings if f.side != "ledger")]
            for finding in lasting:
                reconciliations.add_finding(tx, run.id, finding, invoice_id=row.id, merchant=row.merchant)
                run.counts.update(_counted(finding))
            if lasting:
                more = {"reconciliation": run.id, "findings": [_shown(finding) for finding in lasting]}
                open_review(tx, bridge, row, kind="recon_diff", now=now, more=more)


def _billing(bridge: Bridge, run: Run, limit: int) -> None:
    """Payments that the billing system reported and that have no invoice here."""
    merchant, _, payment = run.cursor.partition("\x1f")
    with bridge.store.read() as tx:
        rows = reconciliations.without_invoice(tx, from_at=run.from_at, after=(merchant, payment), limit=limit)
    found: dict[str, list[Finding]] = defaultdict(list)
    for row in rows:
        if finding := unknown_finding(bridge, row, born_at=min(row.first_reported_at, run.from_at)):
            found[row.merchant].append(finding)
    for of_merchant, findings in found.items():
        _keep_loose(bridge, run, findings, merchant=of_merchant)
    if len(rows) < limit:
        run.phase, run.cursor = "wallet", ""
    else:
        run.cursor = f"{rows[-1].merchant}\x1f{rows[-1].billing_payment_id}"


def _wallet(bridge: Bridge, run: Run, _limit: int) -> None:
    """The gateway's whole wallets against our wallet accounts, last: by now every address was looked at."""
    run.is_over = True
    variances, unread = wallet_variances(bridge)
    run.counts["unread"] += unread
    run.counts["wallet_variance_sat"] = sum(abs(sat) for sat in variances.values())
    findings = [
        Finding(code="wallet_differs", ours=f"account wallet:{role}", theirs=f"{sat:+} sat", variance_sat=sat)
        for role, sat in variances.items()
        if sat
    ]
    if findings:
        _keep_loose(bridge, run, findings, merchant="")
    if not _is_read_only(bridge):
        for role, sat in variances.items():
            _look_for(bridge, role, sat)


# How many addresses that are looked at no more one run may have looked at again, in each wallet.
LOOKED_AT_AGAIN = 200


def _look_for(bridge: Bridge, role: str, sat: int) -> None:
    """A wallet holds more than the books: it may have come to an address that nobody looks at any more."""
    if sat <= 0:
        return
    for wallet_id in bridge.told_by_role[role]:
        with bridge.store.write() as tx:
            count = invoices.look_again(tx, wallet_id=wallet_id, sat=sat, now=bridge.clock(), limit=LOOKED_AT_AGAIN)
        if count:
            log("reconciliation.looks_again", wallet_id=wallet_id, variance_sat=sat, count=count)


def _keep_loose(bridge: Bridge, run: Run, findings: list[Finding], *, merchant: str) -> None:
    """Findings that belong to no invoice: kept one by one, shown to people as one item of the merchant, "" is ours."""
    what = {"reconciliation": run.id, "findings": [_shown(finding) for finding in findings[:SHOWN_FINDINGS]]}
    with bridge.store.write() as tx:
        for finding in findings:
            reconciliations.add_finding(tx, run.id, finding, invoice_id=None, merchant=merchant)
            run.counts.update(_counted(finding))
        open_loose_review(tx, bridge, merchant=merchant, kind="recon_diff", what=what, now=bridge.clock())


def _counted(finding: Finding) -> dict[str, int]:
    return {"findings": 1, f"{finding.side}_variance_sat": abs(finding.variance_sat) if finding.side != "wallet" else 0}


def _shown(finding: Any) -> dict[str, Any]:
    """A Finding, or the row that keeps it."""
    names = ("side", "kind", "code", "ours", "theirs", "variance_sat", "detail")
    return {name: getattr(finding, name) for name in names}


LEASE = "reconcile"
LEASE_SECONDS = 300
WORKER_PAGE = 50


def reconcile_due(bridge: Bridge, *, owner: str) -> int:
    """Does one page when a run is due or under way; 1 when there is more to do at once."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        unfinished = reconciliations.unfinished(tx)
        last_at = reconciliations.last_scheduled_at(tx, now=now)
        # In read_only mode people reconcile on demand, when they are ready to look at the result; but for a database that may lack
        # something, of which they shall know what.
        kept = generation.find(tx)
        is_owed = unfinished is not None and kept is not None and kept.recheck != ""
        is_writable = is_owed or leases.mode_of(tx) != "read_only"
        is_free = is_writable and leases.is_free(tx, LEASE, now=now, lease_seconds=LEASE_SECONDS)
    every_seconds = bridge.reconciliation.every_seconds
    is_due = every_seconds > 0 and last_at is not None and last_at + timedelta(seconds=every_seconds) <= now
    if not is_free or (unfinished is None and not is_due):
        return 0
    # A lease of this page alone: a worker that stops in the middle of it lets it run out.
    page_owner = f"{owner}:{bridge.new_id('page')}"
    with bridge.store.write() as tx:
        if not leases.take_free(tx, LEASE, owner=page_owner, now=now, lease_seconds=LEASE_SECONDS):
            return 0
    try:
        if unfinished is None:
            start_scheduled(bridge)
            return 1
        run = step(bridge, unfinished.id, limit=WORKER_PAGE)
        # A page that came no further waits for the gateway's calls of the next minute.
        return int(not run.is_over and (run.cursor, run.phase) != (unfinished.cursor, unfinished.phase))
    finally:
        with bridge.store.write() as tx:
            leases.give_back(tx, owner=page_owner)


def list_reconciliations(bridge: Bridge, *, limit: int) -> list[dict[str, Any]]:
    """The newest runs first, without their findings."""
    with bridge.store.read() as tx:
        return [_run_json(row) for row in reconciliations.listing(tx, limit=limit)]


def show_reconciliation(bridge: Bridge, run_id: str, *, after: int = 0, limit: int = 200) -> dict[str, Any]:
    """One run with its summary and up to `limit` findings above the cursor `after`; `next_after` is None at the end.

    Raises Refused("unknown_reconciliation").
    """
    with bridge.store.read() as tx:
        row = there(reconciliations.find(tx, run_id), "unknown_reconciliation", "reconciliation")
        summary = reconciliations.summary_of(tx, run_id)
        rows = reconciliations.findings_of(tx, run_id, after=after, limit=limit)
    return _run_json(row) | {
        "summary": [
            {"side": side, "kind": kind, "code": code, "count": count, "variance_sat": sat}
            for (side, kind, code), (count, sat) in summary.items()
        ],
        "findings": [{"invoice_id": row.invoice_id, "merchant": row.merchant} | _shown(row) for row in rows],
        "next_after": rows[-1].id if len(rows) == limit else None,
    }


def set_baseline(bridge: Bridge, *, baseline_sat: int, actor: str, reason: str) -> None:
    """Says how many satoshi in the wallet are not the bridge's. Raises Refused (actor_and_reason_required, forbidden)."""
    wallet_id = bridge.wallet_id
    with acting(bridge, "review.mark", actor=actor, reason=reason) as act:
        before_sat = wallets.baseline_sat(act.tx, wallet_id)
        wallets.set_baseline(
            act.tx, wallet_id=wallet_id, baseline_sat=baseline_sat, now=act.now, actor=actor, reason=reason
        )
        detail = {"wallet_id": wallet_id, "before_sat": before_sat, "after_sat": baseline_sat}
        act.audit("wallet_baseline_set", detail=detail)


def refresh_reconciliation_gauges(bridge: Bridge, tx: Tx, *, now: datetime) -> None:
    """Variance, duration and age of the last finished run; the database has them, so every process shows the same."""
    row = reconciliations.newest_finished(tx, now=now)
    if row is not None:
        counts = row.counts
        for side in SIDES:
            bridge.metrics.recon_variance_sat.labels(side=side).set(abs(counts.get(f"{side}_variance_sat", 0)))
        bridge.metrics.recon_findings.set(counts.get("findings", 0))
        bridge.metrics.recon_duration_seconds.set((row.finished_at - row.started_at).total_seconds())
    age = reconciliations.age_seconds(tx, now=now)
    if age is not None:
        bridge.metrics.recon_age_seconds.set(age)
    for merchant, at in reconciliations.newest_report_at(tx, now=now).items():
        bridge.metrics.billing_report_age_seconds.labels(merchant=merchant).set((now - at).total_seconds())


def _run_json(row: Any) -> dict[str, Any]:
    counts: Mapping[str, int] = row.counts
    return {
        "id": row.id,
        "actor": row.actor,
        "is_scheduled": row.is_scheduled,
        "from": time_text(row.from_at),
        "to": time_text(row.to_at),
        "started_at": time_text(row.started_at),
        "finished_at": time_text(row.finished_at) if row.finished_at else None,
        "phase": row.phase if row.finished_at is None else "done",
        "checked": counts.get("checked", 0),
        "total": counts.get("total", 0),
        "caught_up": counts.get("caught_up", 0),
        "unread": counts.get("unread", 0),
        "findings_count": counts.get("findings", 0),
        "variance_sat": {side: counts.get(f"{side}_variance_sat", 0) for side in SIDES},
        "is_clean": row.finished_at is not None and not counts.get("findings") and not counts.get("unread"),
    }


MOST_PAYMENTS = 500


def take_billing_report(
    bridge: Bridge,
    merchant: str,
    *,
    report_id: str,
    covers_from: datetime,
    payments: Sequence[Mapping[str, Any]],
    is_last: bool,
    source: str = "module",
) -> dict[str, Any]:
    """Keeps one page of what the billing system says of its payments: every one created since `covers_from`; `is_last` ends it.

    Each says billing_payment_id, status, amount_text (its decimal), currency, and of ours external_id and maybe address. It is not
    believed: a difference is a question for a person, never a change of an invoice. Repeating a page is harmless.
    Raises Refused: too_many_payments, and report_of_another when the id is another merchant's.
    """
    if len(payments) > MOST_PAYMENTS:
        raise Refused("too_many_payments", f"At most {MOST_PAYMENTS} payments in one page.", field="payments")
    now, of = bridge.clock(), {"merchant": merchant, "source": source}
    with bridge.store.write() as tx:
        opened = reconciliations.open_report(tx, report_id=report_id, covers_from=covers_from, now=now, **of)
        if opened.merchant != merchant:
            raise Refused("report_of_another", "This report id is in use.", field="report_id")
        # A payment's word is as old as the beginning of its report: it was read at some moment since.
        count = reconciliations.put_statuses(tx, merchant=merchant, rows=payments, now=opened.started_at)
        if is_last:
            reconciliations.finish_report(tx, report_id, now=now)
    # A bridge of before refuses a member that it does not know, so the module waits until it is named.
    return {"report_id": report_id, "taken": count, "finished": is_last, "reads": ["address"]}
