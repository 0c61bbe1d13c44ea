"""Jobs that only one worker may do at a time: numbering events for the feed, sealing the audit chain, counting gauges.

Owns their leases; must not touch invoices.
"""

from datetime import datetime, timedelta

from bridge.books.reconciliation_report import refresh_reconciliation_gauges
from bridge.call_budget import PROVIDER, WINDOW_SECONDS
from bridge.context import Bridge
from bridge.invoices.stage import stage_uses
from bridge.store import audit, counts, deliveries, events, invoices, leases, ledger, reviews, wallets
from bridge.store.db import Tx

LEASE_SECONDS = 30


def number_events(bridge: Bridge, *, owner: str, limit: int = 500) -> int:
    """Gives positions to committed events. One at a time, so that no reader of the feed ever skips one."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        if not events.any_unnumbered(tx):
            return 0
    with bridge.store.write() as tx:
        if not leases.take(tx, "number_events", owner=owner, now=now, lease_seconds=LEASE_SECONDS):
            return 0
        numbered = events.number(tx, limit=limit)
        bridge.crash_point("number.committing")
        return numbered


def seal_audit(bridge: Bridge, *, owner: str, limit: int = 500) -> int:
    """Lays the hash chain over audit rows that have been committed."""
    now = bridge.clock()
    with bridge.store.read() as tx:
        if not audit.any_unsealed(tx):
            return 0
    with bridge.store.write() as tx:
        if not leases.take(tx, "seal_audit", owner=owner, now=now, lease_seconds=LEASE_SECONDS):
            return 0
        sealed = audit.seal(tx, limit=limit)
        bridge.crash_point("seal.committing")
        return sealed


def refresh_gauges(bridge: Bridge) -> None:
    """Sets the gauges that are counts of rows and the age of prices; asked for by whoever scrapes the metrics."""
    now = bridge.clock()
    of_rows = (bridge.metrics.open_invoices, bridge.metrics.deliveries_waiting, bridge.metrics.reviews_open)
    for gauge in (*of_rows, bridge.metrics.stage_limit, bridge.metrics.stage_used):
        gauge.clear()  # what no row or rule is in any more must not keep its last figure
    with bridge.store.read() as tx:
        for status, count in invoices.count_by_status(tx).items():
            bridge.metrics.open_invoices.labels(status=status).set(count)
        for state, count in deliveries.depth(tx).items():
            bridge.metrics.deliveries_waiting.labels(state=state).set(count)
        for kind, count in reviews.count_open_by_kind(tx).items():
            bridge.metrics.reviews_open.labels(kind=kind).set(count)
        bridge.metrics.reviews_overdue.set(reviews.count_overdue(tx, now=now))
        refresh_reconciliation_gauges(bridge, tx, now=now)
        for account, sat in ledger.sums(tx, ("provider_fee", "network_fee")).items():
            bridge.metrics.fees_sat.labels(account=account).set(sat)
        for row in wallets.balances(tx):
            bridge.metrics.wallet_sat.labels(role=row.role).set(row.confirmed_sat)
        _refresh_queues(bridge, tx, now=now)
        _refresh_stages(bridge, tx, now=now)
    bridge.metrics.hot_cap_sat.set(bridge.treasury.max_hot_sat)
    for currency, rate in list(bridge.last_rates.items()):
        prices = [sample.price_minor for sample in rate.samples]
        bridge.metrics.rate_age_seconds.labels(currency=currency).set((now - rate.observed_at).total_seconds())
        spread_bps = (max(prices) - min(prices)) * 10_000 // rate.price_minor
        bridge.metrics.rate_spread_bps.labels(currency=currency).set(spread_bps)


def _refresh_stages(bridge: Bridge, tx: Tx, *, now: datetime) -> None:
    for use in stage_uses(tx, bridge, now=now):
        limits = {"invoices": use.stage.invoices_per_day, **use.stage.minor_per_day}
        used = {"invoices": use.used.invoices, **use.used.minor}
        for measure, limit in limits.items():
            if limit is not None:
                bridge.metrics.stage_limit.labels(merchant=use.merchant, measure=measure).set(limit)
                bridge.metrics.stage_used.labels(merchant=use.merchant, measure=measure).set(used.get(measure, 0))


def _refresh_queues(bridge: Bridge, tx: Tx, *, now: datetime) -> None:
    for queue, found in counts.waiting(tx, now=now).items():
        bridge.metrics.queue_depth.labels(queue=queue).set(found.depth)
        age_seconds = (now - found.since).total_seconds() if found.since is not None else 0
        bridge.metrics.queue_age_seconds.labels(queue=queue).set(max(age_seconds, 0))
    since = now - timedelta(seconds=WINDOW_SECONDS)
    bridge.metrics.calls_spent.set(leases.calls_in_window(tx, PROVIDER, since=since))
    bridge.metrics.calls_limit.set(bridge.receiving.calls_per_minute)
