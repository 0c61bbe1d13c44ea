"""Jobs that only one worker may do at a time: numbering events for the feed, sealing the audit chain, adding up the ledger, purging
what its record class no longer needs, packing what is old. And counting gauges, for whoever scrapes them.

Owns their leases and pace; what may go at all is said by `store.purge`, what may be packed by `store.archive`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from prometheus_client import Gauge

from bridge.books.counted import deliveries_by_state, invoices_by_status
from bridge.books.reconcile import refresh_reconciliation_gauges
from bridge.context import Bridge
from bridge.core.errors import Conflict, Unavailable
from bridge.invoices.stage import stage_uses
from bridge.invoices.ways import is_known
from bridge.logs import log
from bridge.permit import acting
from bridge.store import (
    ahead,
    archive,
    audit,
    claims,
    counts,
    events,
    leases,
    ledger,
    reviews,
    sums,
    targets,
    wallets,
)
from bridge.store.db import Tx
from bridge.store.purge import CLASSES, RecordClass, count_due, purge
from bridge.turns import NOBODY, PROVIDER, WINDOW_SECONDS, take_turn

LEASE_SECONDS = 30


def number_events(bridge: Bridge, *, owner: str, limit: int = 500) -> int:
    """Gives positions to committed events. One at a time, so that no reader of the feed ever skips one."""
    return _alone(bridge, "number_events", events.any_unnumbered, events.number, owner=owner, limit=limit)


def seal_audit(bridge: Bridge, *, owner: str, limit: int = 500) -> int:
    """Lays the hash chain over audit rows that have been committed."""
    return _alone(bridge, "seal_audit", audit.any_unsealed, audit.seal, owner=owner, limit=limit)


def add_up(bridge: Bridge, *, owner: str, limit: int = 2_000) -> int:
    """Adds journals that have been committed to the sums that are kept of the ledger."""
    return _alone(bridge, "add_up", sums.any_unsummed, sums.add_up, owner=owner, limit=limit)


def _alone(
    bridge: Bridge, name: str, is_work: Callable[[Tx], bool], work: Callable[..., int], *, owner: str, limit: int
) -> int:
    now = bridge.clock()
    with bridge.store.read() as tx:
        if not is_work(tx):
            return 0
    with bridge.store.write() as tx:
        if not leases.take(tx, name, owner=owner, now=now, lease_seconds=LEASE_SECONDS):
            return 0
        done = work(tx, limit=limit)
        bridge.crash_point(f"{name.partition('_')[0]}.committing")
        return done


def refresh_gauges(bridge: Bridge) -> None:
    """Sets the gauges that are counts of rows and the age of prices; asked for by whoever scrapes the metrics."""
    now, metrics = bridge.clock(), bridge.metrics
    with bridge.store.read() as tx:
        _set(metrics.open_invoices, invoices_by_status(bridge, tx))
        _set(metrics.deliveries_waiting, deliveries_by_state(bridge, tx))
        _set(metrics.reviews_open, reviews.count_open_by_kind(tx))
        metrics.reviews_overdue.set(reviews.count_overdue(tx, now=now))
        claim = claims.next_due(tx)
        _set(metrics.claim_due_seconds, {claim.stage: round((claim.due_at - now).total_seconds())} if claim else {})
        refresh_reconciliation_gauges(bridge, tx, now=now)
        for account, sat in ledger.sums(tx, ("provider_fee", "network_fee")).items():
            metrics.fees_sat.labels(account=account).set(sat)
        for row in wallets.balances(tx):
            metrics.wallet_sat.labels(role=row.role).set(row.confirmed_sat)
        _refresh_queues(bridge, tx, now=now)
        _refresh_stages(bridge, tx, now=now)
        waiting = targets.count_waiting(tx, [rail.wallet_id for rail in bridge.beside], now=now)
    _refresh_rails(bridge, waiting, now=now)
    bridge.metrics.hot_cap_sat.set(bridge.treasury.max_hot_sat)
    for currency, rate in list(bridge.last_rates.items()):
        prices = [sample.price_minor for sample in rate.samples]
        bridge.metrics.rate_age_seconds.labels(currency=currency).set((now - rate.observed_at).total_seconds())
        spread_bps = (max(prices) - min(prices)) * 10_000 // rate.price_minor
        bridge.metrics.rate_spread_bps.labels(currency=currency).set(spread_bps)


def _set(gauge: Gauge, counted: Mapping[str, int]) -> None:
    """What no row is in any more does not keep its last figure."""
    gauge.clear()
    for label, count in counted.items():
        gauge.labels(label).set(count)


def _refresh_stages(bridge: Bridge, tx: Tx, *, now: datetime) -> None:
    bridge.metrics.stage_limit.clear()
    bridge.metrics.stage_used.clear()
    for use in stage_uses(tx, bridge, now=now):
        limits = {"invoices": use.stage.invoices_per_day, **use.stage.minor_per_day}
        used = {"invoices": use.used.invoices, **use.used.minor}
        for measure, limit in limits.items():
            if limit is not None:
                bridge.metrics.stage_limit.labels(merchant=use.merchant, measure=measure).set(limit)
                bridge.metrics.stage_used.labels(merchant=use.merchant, measure=measure).set(used.get(measure, 0))


def _refresh_rails(bridge: Bridge, waiting: Mapping[str, int], *, now: datetime) -> None:
    """Only what this program has just heard of a rail is said of it: another one may know better."""
    metrics = bridge.metrics
    metrics.rail_well.clear()
    metrics.rail_inbound_sat.clear()
    for rail in bridge.beside:
        metrics.ways_open.labels(rail=rail.name).set(waiting.get(rail.wallet_id, 0))
        if is_known(bridge, rail, now):
            _, health = bridge.standing[rail.wallet_id]
            metrics.rail_well.labels(rail=rail.name).set(health is not None and health.ok)
            if health is not None and health.inbound_sat is not None:
                metrics.rail_inbound_sat.labels(rail=rail.name).set(health.inbound_sat)


def _refresh_queues(bridge: Bridge, tx: Tx, *, now: datetime) -> None:
    for queue, found in counts.waiting(tx, now=now).items():
        bridge.metrics.queue_depth.labels(queue=queue).set(found.depth)
        age_seconds = (now - found.since).total_seconds() if found.since is not None else 0
        bridge.metrics.queue_age_seconds.labels(queue=queue).set(max(age_seconds, 0))
    since = now - timedelta(seconds=WINDOW_SECONDS)
    bridge.metrics.calls_spent.set(leases.calls_in_window(tx, PROVIDER, since=since))
    bridge.metrics.calls_limit.set(bridge.receiving.calls_per_minute)


PAGE = 500
LEASE = "purge"
# Five million a day, ten times what a hundred thousand invoices a day leave behind; and a worker that is told to stop is soon done.
PURGE_SECONDS, MOST_AT_ONCE = 300, 20_000


def purge_step(bridge: Bridge, *, dry_run: bool = False, limit: int = PAGE) -> dict[str, int]:
    """Purges up to `limit` records of each class and says how many of which; empty when nothing is due any more.

    With `dry_run` it only counts all that is due.
    """
    done: dict[str, int] = {}
    for each in CLASSES:
        before = bridge.clock() - timedelta(days=_days(bridge, each))
        if dry_run:
            with bridge.store.read() as tx:
                count = count_due(tx, each, before=before)
        else:
            with bridge.store.write() as tx:
                count = purge(tx, each, before=before, limit=limit)
        if count:
            done[each.name] = done.get(each.name, 0) + count
    if done and not dry_run:
        log("purge.done", removed=done)
    return done


def check_may_purge(bridge: Bridge, *, actor: str, reason: str) -> None:
    """A person purges now what the worker would purge at night, audited. Raises Refused."""
    with acting(bridge, "mode.set", actor=actor, reason=reason) as act:
        act.audit("purge_asked")


def purge_due(bridge: Bridge) -> int:
    """Purges what is due, at most once in PURGE_SECONDS over all workers. Returns how many records.

    What was purged is gone: while a clock has just jumped nobody knows how old anything is.
    """
    if not _may_age(bridge, LEASE, every_seconds=PURGE_SECONDS):
        return 0
    total = 0
    while done := purge_step(bridge):
        total += sum(done.values())
        if total >= MOST_AT_ONCE:
            break
    return total


def _may_age(bridge: Bridge, name: str, *, every_seconds: int) -> bool:
    """Whether it is this worker's turn at what is done by age alone."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        if leases.mode_of(tx) == "read_only" or ahead.jumps(tx, now=now, within=timedelta(days=1)):
            return False
    return take_turn(bridge, name, owner=NOBODY, now=now, every_seconds=every_seconds)


ARCHIVE, ARCHIVE_SECONDS, ARCHIVE_PAGE, MOST_PACKED = "archive", 60, 10, 100


def archive_due(bridge: Bridge) -> int:
    """Packs the oldest invoices that are due by the settings, a page in a transaction, at most once in ARCHIVE_SECONDS over all
    workers. Returns how many.
    """
    if bridge.archive_after_days is None or not _may_age(bridge, ARCHIVE, every_seconds=ARCHIVE_SECONDS):
        return 0
    total = 0
    while total < MOST_PACKED and (done := _archive_step(bridge, bridge.archive_after_days)):
        total += done
    if total:
        log("archive.done", packed=total)
    return total


def _archive_step(bridge: Bridge, days: int) -> int:
    now = bridge.clock()
    with bridge.store.write() as tx:
        ids = archive.due(tx, before=now - timedelta(days=days), now=now, limit=ARCHIVE_PAGE)
        for invoice_id in ids:
            archive.pack(tx, invoice_id, now=now)
        if ids:
            bridge.crash_point("archive.committing")
    if ids:
        bridge.crash_point("archive.committed")
    return len(ids)


def check_may_thaw(bridge: Bridge, *, actor: str, reason: str) -> None:
    """A person thaws every archive, audited: before an earlier release reads the database. Raises Conflict("archive_is_on"), Refused."""
    if bridge.archive_after_days is not None:
        raise Conflict("archive_is_on", "The worker would pack them again: set archive_after_days to null first.")
    with acting(bridge, "mode.set", actor=actor, reason=reason) as act:
        act.audit("thaw_asked")


def thaw_step(bridge: Bridge, *, after: str = "") -> tuple[list[str], list[str]]:
    """Thaws a page of archives behind that invoice. Returns whose they were, none at the end, and which of them are damaged and stay."""
    damaged = []
    with bridge.store.write() as tx:
        ids = archive.packed(tx, after=after, limit=ARCHIVE_PAGE)
        for invoice_id in ids:
            try:
                archive.thaw(tx, invoice_id)
            except Unavailable as trouble:
                if trouble.code != "archive_damaged":
                    raise
                damaged.append(invoice_id)
    return ids, damaged


def _days(bridge: Bridge, each: RecordClass) -> int:
    """The configured days, or those of a class that no setting names: operators' sessions are over when they say so."""
    return getattr(bridge.retention_days, each.name, each.days)
