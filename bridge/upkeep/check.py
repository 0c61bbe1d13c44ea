"""The alert rules: what must make somebody look, evaluated on demand; and whether the bridge can do its work now.

Owns the rules, what trips them and whom they call, and the checks of readiness; must not change anything but take its calls to
the gateway from the budget. The thresholds are the operator's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from bridge.books.verify import first_recent_break
from bridge.context import Bridge
from bridge.core.clock import behind_chain, is_ahead
from bridge.core.coverage import gap_of
from bridge.core.errors import BridgeError, Refused, Unavailable
from bridge.core.evidence import Health, WalletBalance
from bridge.core.rail import Chain, Rail
from bridge.invoices.chain import horizon
from bridge.invoices.offer_beside import failed_lately
from bridge.invoices.present import time_text
from bridge.invoices.price import current_rate
from bridge.invoices.stage import stage_uses
from bridge.invoices.unread import missing_wallets
from bridge.invoices.ways import ask_standing, is_unwell
from bridge.payouts.treasury import old_balances
from bridge.store import ahead, audit, claims, deliveries, invoices, leases, policies, reconciliations, reviews
from bridge.store.db import Tx
from bridge.turns import draw_call


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """When a rule trips: above a count, an age or an amount, `rail_inbound_sat` and `disk_free_mb` below. Whole seconds, satoshi and
    megabytes; 0 counts everything.
    """

    reviews_overdue: int = 0
    reviews_open: int = 20
    claims_overdue: int = 0
    claims_due_seconds: int = 14_400
    deliveries_parked: int = 0
    deliveries_waiting: int = 500
    deliveries_late_seconds: int = 900
    looks_late_seconds: int = 600
    invoices_stuck_seconds: int = 21_600
    evidence_gaps_seconds: int = 3_600
    mode_changed_seconds: int = 3_600
    hot_balance_sat: int = 10_000_000
    clock_skew_seconds: int = 30
    clock_jumps: int = 0
    backup_age_seconds: int = 10_800
    signature_failures: int = 0
    books_differ: int = 0
    audit_unverified_seconds: int = 172_800
    billing_silent_seconds: int = 172_800
    rail_silent_seconds: int = 600
    rail_inbound_sat: int = 100_000
    offers_failed: int = 5
    disk_free_mb: int = 200


@dataclass(frozen=True, kw_only=True)
class Watching:
    """What the operator's file and folder say about the rules. `watch_backups`: a missing backup is an alert too."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    owners: Mapping[str, str] = field(default_factory=dict)
    newest_backup_at: datetime | None = None
    watch_backups: bool = False


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One rule that is tripped now, and the role that looks after it."""

    rule: str
    detail: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class _Now:
    """What the rules look at."""

    bridge: Bridge
    now: datetime
    limits: Thresholds
    # What each wallet at a gateway answered in this run, by role and id: several rules ask the same.
    balances: dict[tuple[str, str], WalletBalance | BridgeError] = field(default_factory=dict)


def _mode_changed(seen: _Now, tx: Tx) -> str:
    before = seen.now - timedelta(seconds=seen.limits.mode_changed_seconds)
    changed = [row for row in leases.all_modes(tx) if row.mode != "normal" and row.since < before]
    return ", ".join(f"{row.scope} is {row.mode} since {row.since:%Y-%m-%d %H:%M} by {row.actor}" for row in changed)


def _looks_late(seen: _Now, tx: Tx) -> str:
    limit = seen.limits.looks_late_seconds
    late = invoices.any_due(tx, now=seen.now - timedelta(seconds=limit))
    return f"an invoice waits for its look for more than {limit} s: is a worker running?" if late else ""


def _deliveries_late(seen: _Now, tx: Tx) -> str:
    limit = seen.limits.deliveries_late_seconds
    late = deliveries.any_due(tx, now=seen.now - timedelta(seconds=limit))
    return (
        f"an event waits for its delivery for more than {limit} s: is a worker running, does the billing system answer?"
        if late
        else ""
    )


def _invoices_stuck(seen: _Now, tx: Tx) -> str:
    limit = seen.limits.invoices_stuck_seconds
    count = invoices.count_stuck(tx, before=seen.now - timedelta(seconds=limit))
    return f"{count} with money under way and no news for {limit} s" if count else ""


def _evidence_gaps(seen: _Now, tx: Tx) -> str:
    before = seen.now - timedelta(seconds=seen.limits.evidence_gaps_seconds)
    found = sorted(invoices.lasting_gaps(tx, before=before).items())
    told = [f"{gap}: {count} since {since:%Y-%m-%d %H:%M}" for gap, (count, since) in found]
    return f"invoices whose silence says nothing: {', '.join(told)}" if told else ""


def _rail_silent(seen: _Now, tx: Tx) -> str:
    before = seen.now - timedelta(seconds=seen.limits.rail_silent_seconds)
    count, since = invoices.lasting_gaps(tx, before=before).get("rail_unavailable", (0, seen.now))
    return (
        f"what came over another way cannot be read for {count} invoices since {since:%Y-%m-%d %H:%M}" if count else ""
    )


def _reconciliation_old(seen: _Now, tx: Tx) -> str:
    age = reconciliations.age_seconds(tx, now=seen.now)
    is_old = age is not None and seen.bridge.reconciliation.is_old(age)
    return f"the last finished reconciliation is {age} s old: is a worker running?" if is_old else ""


def _balance_old(seen: _Now, tx: Tx) -> str:
    roles = old_balances(tx, seen.bridge, now=seen.now)
    limit = seen.bridge.treasury.balance_age_alert_seconds
    return f"the {' and '.join(roles)} wallet holds money and could not be read for {limit} s" if roles else ""


def _policy_waiting(_seen: _Now, tx: Tx) -> str:
    waiting = [f"version {row.number} by {row.proposed_by}" for row in policies.proposed(tx)]
    return f"{', '.join(waiting)}: approve or reject, nothing changes before" if waiting else ""


def _audit_unverified(seen: _Now, tx: Tx) -> str:
    """A walk from the beginning is the only one that finds an old row altered: somebody must notice when it stays away."""
    known, limit = audit.checks(tx).get("full"), seen.limits.audit_unverified_seconds
    since = known.at if known is not None else audit.oldest_at(tx)
    is_old = since is not None and (seen.now - since).total_seconds() > limit
    return f"the whole chain was not walked for {limit} s: is a worker running?" if is_old else ""


def _stage_reached(seen: _Now, tx: Tx) -> str:
    uses = stage_uses(tx, seen.bridge, now=seen.now)
    return "; ".join(f"{use.merchant}: {use.text()}" for use in uses if use.is_used_up)


def clock_faults(tx: Tx, bridge: Bridge, *, now: datetime, limits: Thresholds) -> list[str]:
    """What is stored that a right clock of this machine and of every node would not have left there."""
    best, marked_at = leases.best_tip(tx, bridge.network), ahead.clock_marked_at(tx)
    behind = behind_chain(best.block_time if best is not None else None, now=now)
    faults = [clock_behind(behind)] if behind else []
    if marked_at is not None and is_ahead(marked_at, now=now):
        apart = f"a worker's clock stood {_whole(marked_at - now)} ahead of this one"
        is_ours = best is not None and best.block_time is not None and is_ahead(best.block_time, now=now)
        faults.append(f"{apart}, and so does the newest block: it is this one that is behind" if is_ours else apart)
    jumps = ahead.jumps(tx, now=now, within=timedelta(days=1))
    if len(jumps) > limits.clock_jumps:
        last, way = jumps[0], "back" if jumps[0].seconds > 0 else "forward"
        told = f"the last by {timedelta(seconds=abs(last.seconds))} {way}, noticed {last.noticed_at:%Y-%m-%d %H:%M} UTC"
        faults.append(f"jumps of a clock in a day: {len(jumps)}, {told} by {last.noticed_by}")
    return faults


def clock_behind(behind: timedelta) -> str:
    return f"this machine's clock is behind the chain's by {_whole(behind)}"


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=int(span.total_seconds()))


def _clock_stored(seen: _Now, tx: Tx) -> str:
    return "; ".join(clock_faults(tx, seen.bridge, now=seen.now, limits=seen.limits))


def _disk_low(seen: _Now, _tx: Tx) -> str:
    """Before it is too late: SQLite's log alone grows by 64 MB under load."""
    free, limit = seen.bridge.store.free_bytes(), seen.limits.disk_free_mb
    if free is None or free >= limit * 1_000_000:
        return ""
    return f"{free // 1_000_000} MB are left where the database lies, limit {limit} MB"


def _open_reviews(tx: Tx, kind: str) -> int:
    return reviews.count_open_by_kind(tx).get(kind, 0)


def _backup_old(seen: _Now, newest_at: datetime | None) -> str:
    if newest_at is None:
        return "there is no backup"
    age_seconds = int((seen.now - newest_at).total_seconds())
    limit = seen.limits.backup_age_seconds
    return f"the newest backup is {age_seconds} s old, limit {limit} s" if age_seconds > limit else ""


# A busy minute is no outage of anybody, and a database that is away has a rule of its own: the next run asks.
_OF_OUR_OWN = frozenset(
    {
        "call_budget_spent",
        "database_unavailable",
        "database_read_only",
        "database_fenced",
        "database_failed_over",
        "database_log_missing",
    }
)


def _asked(ask: Callable[[_Now], str], seen: _Now) -> str:
    try:
        return ask(seen)
    except BridgeError as error:
        return "" if error.code in _OF_OUR_OWN else error.code


def _provider_down(seen: _Now) -> str:
    health = seen.bridge.receiving.health
    if health is None:
        return ""
    draw_call(seen.bridge)
    return "" if health().ok else "the gateway says that it is not well"


def _chain_down(seen: _Now) -> str:
    if seen.bridge.chain is not None:
        chain_sight(seen.bridge, seen.bridge.chain, now=seen.now)
    return ""


def _standings(seen: _Now) -> Iterator[tuple[Rail, Health | BridgeError]]:
    """What each rail beside the first says of itself now."""
    for rail in seen.bridge.beside:
        if rail.health is not None:
            try:
                draw_call(seen.bridge, rail=rail)
                yield rail, rail.health()
            except BridgeError as error:
                yield rail, error


def _rails_unwell(seen: _Now) -> str:
    told = [(rail, says.code if isinstance(says, BridgeError) else says.ok) for rail, says in _standings(seen)]
    codes = [(rail.name, code or "it says that it is not well") for rail, code in told if code is not True]
    return "; ".join(f"{name}: {code}" for name, code in codes if code not in _OF_OUR_OWN)


def _rail_inbound(seen: _Now) -> str:
    limit = seen.limits.rail_inbound_sat
    rooms = [(rail.name, says.inbound_sat) for rail, says in _standings(seen) if isinstance(says, Health)]
    little = [f"{name}: {sat} sat can come in, limit {limit}" for name, sat in rooms if sat is not None and sat < limit]
    return "; ".join(little)


def _price_down(seen: _Now) -> str:
    for currency in _currencies(seen.bridge):
        try:
            current_rate(seen.bridge, currency, seen.now)
        except BridgeError as error:
            return f"{currency}: {error.detail}"
    return ""


def _hot_balance(seen: _Now) -> str:
    held_sat, limit_sat = 0, seen.bridge.treasury.max_hot_sat or seen.limits.hot_balance_sat
    over: list[str] = []
    for (role, wallet_id), told in _balances(seen).items():
        rail = seen.bridge.rail_of(wallet_id)
        most_sat = rail.max_held_sat if rail is not None else 0
        if isinstance(told, Refused) or (role != "hot" and not most_sat):
            continue
        if isinstance(told, BridgeError):
            raise told
        if role == "hot":
            held_sat += told.balance_sat
        elif told.balance_sat > most_sat:
            over.append(f"{told.balance_sat} sat over {role}, limit {most_sat}")
    if held_sat > limit_sat:
        over.insert(0, f"{held_sat} sat at the gateway, limit {limit_sat}")
    return "; ".join(over)


def _wallets_refused(seen: _Now) -> str:
    refused = [wallet_id for (_, wallet_id), told in _balances(seen).items() if isinstance(told, Refused)]
    return "; ".join(f"the gateway refuses to answer for wallet {wallet_id}" for wallet_id in refused)


def _balances(seen: _Now) -> Mapping[tuple[str, str], WalletBalance | BridgeError]:
    if seen.balances:
        return seen.balances
    for role, told in seen.bridge.told_by_role.items():
        for wallet_id, balance in told.items():
            try:
                draw_call(seen.bridge)
                seen.balances[role, wallet_id] = balance()
            except BridgeError as error:
                seen.balances[role, wallet_id] = error
    return seen.balances


def _claims_due(seen: _Now, tx: Tx) -> str:
    """Before it is too late: past its deadline a claim is claims_overdue."""
    row = claims.next_due(tx, after=seen.now)
    soon = row is not None and row.due_at <= seen.now + timedelta(seconds=seen.limits.claims_due_seconds)
    return f"the stage of {row.id} ends at {time_text(row.due_at)}" if row is not None and soon else ""


def _clock_skew(seen: _Now) -> str:
    if seen.bridge.receiving.health is not None:
        draw_call(seen.bridge)
    skew = clock_skew_seconds(seen.bridge)
    return f"{skew} s against the gateway" if skew is not None and abs(skew) > seen.limits.clock_skew_seconds else ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One row of what is watched: a `count` of rows that must not be above the threshold of the rule's name, or the alert's detail as
    `stored` reads it in the database and `ask` hears it of an outside world, empty when all is well.
    """

    name: str
    owner: str
    count: Callable[[_Now, Tx], int] | None = None
    stored: Callable[[_Now, Tx], str] | None = None
    ask: Callable[[_Now], str] | None = None


# In the order in which they are looked at and said. Two rows of one name are one alert with both details. The runbook of a rule
# is docs/runbooks.md#<name>, its threshold a field of `Thresholds`, its words are in bridge/texts/.
RULES = (
    Rule(name="reviews_overdue", owner="support", count=lambda s, tx: reviews.count_overdue(tx, now=s.now)),
    Rule(name="claims_overdue", owner="support", count=lambda s, tx: claims.count_overdue(tx, now=s.now)),
    Rule(name="claims_due", owner="support", stored=_claims_due),
    Rule(name="reviews_open", owner="support", count=lambda _, tx: sum(reviews.count_open_by_kind(tx).values())),
    Rule(name="deliveries_parked", owner="operations", count=lambda _, tx: deliveries.count(tx, state="parked")),
    Rule(name="deliveries_waiting", owner="operations", count=lambda _, tx: deliveries.count(tx, state="pending")),
    Rule(name="deliveries_late", owner="operations", stored=_deliveries_late),
    Rule(name="looks_late", owner="operations", stored=_looks_late),
    Rule(name="invoices_stuck", owner="operations", stored=_invoices_stuck),
    Rule(name="evidence_gaps", owner="operations", stored=_evidence_gaps),
    Rule(name="rail_silent", owner="operations", stored=_rail_silent),
    Rule(name="offers_failed", owner="operations", count=lambda s, tx: failed_lately(tx, now=s.now)),
    Rule(name="mode_changed", owner="operations", stored=_mode_changed),
    Rule(name="signature_failures", owner="security", count=lambda _, tx: _open_reviews(tx, "bad_signature")),
    Rule(name="books_differ", owner="finance", count=lambda _, tx: _open_reviews(tx, "recon_diff")),
    Rule(name="reconciliation_old", owner="finance", stored=_reconciliation_old),
    Rule(name="balance_old", owner="finance", stored=_balance_old),
    Rule(name="wallet_missing", owner="operations", stored=lambda s, tx: "; ".join(missing_wallets(tx, s.bridge))),
    Rule(name="audit_chain_broken", owner="security", stored=lambda _, tx: first_recent_break(tx) or ""),
    Rule(name="audit_unverified", owner="security", stored=_audit_unverified),
    Rule(name="stage_reached", owner="operations", stored=_stage_reached),
    Rule(name="policy_waiting", owner="finance", stored=_policy_waiting),
    Rule(name="clock_skew", owner="operations", stored=_clock_stored),
    Rule(name="disk_low", owner="operations", stored=_disk_low),
    # These two `alerts` looks at itself.
    Rule(name="backup_old", owner="operations"),
    Rule(name="database_down", owner="operations"),
    Rule(name="provider_down", owner="operations", ask=_provider_down),
    Rule(name="chain_down", owner="operations", ask=_chain_down),
    Rule(name="price_down", owner="operations", ask=_price_down),
    Rule(name="hot_balance", owner="finance", ask=_hot_balance),
    Rule(name="rail_silent", owner="operations", ask=_rails_unwell),
    Rule(name="rail_inbound", owner="finance", ask=_rail_inbound),
    Rule(name="wallet_missing", owner="operations", ask=_wallets_refused),
    Rule(name="clock_skew", owner="operations", ask=_clock_skew),
)
OWNERS = {rule.name: rule.owner for rule in RULES}


def alerts(bridge: Bridge, watching: Watching | None = None, *, ask_outside: bool = False) -> list[Alert]:
    """Every tripped rule; empty when all is well. `ask_outside` also asks gateway, chain and prices, each once."""
    watching = watching or Watching()
    seen = _Now(bridge=bridge, now=bridge.clock(), limits=watching.thresholds)
    try:
        with bridge.store.read() as tx:
            found = {rule.name: detail for rule in RULES if (detail := _looked(rule, seen, tx))}
    except Exception as error:  # a driver's own error: say what kind, not what it printed
        found = {"database_down": getattr(error, "code", type(error).__name__)}
    if "database_down" not in found and not (database := _check("database", partial(_database, bridge))).ok:
        found["database_down"] = database.detail
    if watching.watch_backups and (detail := _backup_old(seen, watching.newest_backup_at)):
        found["backup_old"] = detail
    if ask_outside:
        for rule in RULES:
            if rule.ask and (detail := _asked(rule.ask, seen)):
                found[rule.name] = f"{found[rule.name]}; {detail}" if rule.name in found else detail
    called = OWNERS | dict(watching.owners)
    return [Alert(rule=rule, detail=detail, owner=called[rule]) for rule, detail in found.items()]


def _looked(rule: Rule, seen: _Now, tx: Tx) -> str:
    if rule.count is not None:
        count, limit = rule.count(seen, tx), getattr(seen.limits, rule.name)
        return f"{count}, limit {limit}" if count > limit else ""
    return rule.stored(seen, tx) if rule.stored is not None else ""


def clock_skew_seconds(bridge: Bridge) -> int | None:
    """How far our clock is before (positive) or behind the gateway's Date header; None when it sends none or there is none."""
    health = bridge.receiving.health
    told = health().server_time if health is not None else None
    return int((bridge.clock() - told).total_seconds()) if told is not None else None


def chain_sight(bridge: Bridge, chain: Chain, *, now: datetime) -> str:
    """What the reader sees, in words. Raises Unavailable, with the gap as its code when silence would say nothing."""
    with bridge.store.read() as tx:
        newest, held_to = invoices.newest(tx), horizon(tx, bridge, now=now)
    if newest is None:
        return f"height {chain.tip().height}; no invoice yet whose history could be asked"
    reading = chain.read(newest.address, born_at=newest.created_at, asked_at=now)
    if gap := gap_of(reading, born_at=newest.created_at, horizon=held_to):
        seen = f"{reading.source} shows height {reading.tip.height} of {reading.tip.time:%Y-%m-%d %H:%M} UTC"
        raise Unavailable(gap, f"{seen}; the highest known is {max(held_to.height, reading.tip.height)}.")
    return f"height {reading.tip.height}"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that should work; without what `is_needed` the bridge cannot do its work. `detail` says what is wrong, never a
    secret.
    """

    name: str
    ok: bool
    detail: str = ""
    is_needed: bool = True


def readiness(bridge: Bridge) -> list[Check]:
    """Runs every check; each fails alone."""
    asked: dict[str, Callable[[], str]] = {"database": partial(_database, bridge)}
    if bridge.receiving.health is not None:
        asked["provider"] = partial(_provider, bridge.receiving.health)
    asked |= {f"price_{each}": partial(_price, bridge, each) for each in _currencies(bridge)}
    if bridge.chain is not None:
        asked["chain"] = partial(chain_sight, bridge, bridge.chain, now=bridge.clock())
    beside = [_check(f"rail_{rail.name}", partial(_stands, bridge, rail)) for rail in bridge.beside]
    return [
        *(_check(name, attempt) for name, attempt in asked.items()),
        *(replace(each, is_needed=False) for each in beside),
    ]


def _currencies(bridge: Bridge) -> list[str]:
    return sorted({currency for merchant in bridge.merchants.values() for currency in merchant.currencies})


def _check(name: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=attempt())
    except BridgeError as error:
        return Check(name=name, ok=False, detail=error.code)
    except Exception as error:  # a driver's own error: say what kind, not what it printed
        return Check(name=name, ok=False, detail=type(error).__name__)


def _database(bridge: Bridge) -> str:
    bridge.store.check_writable()
    with bridge.store.read() as tx:
        return f"mode {leases.mode_of(tx)}"


def _provider(ask: Callable[[], Health]) -> str:
    if not ask().ok:
        raise BridgeError("provider_unhealthy", "The gateway says that it is not well.")
    return "ok"


def _stands(bridge: Bridge, rail: Rail) -> str:
    """How a rail beside the first stands; asked no more often than its offers ask it. The first way goes on without it."""
    ask_standing(bridge, rail)
    _, health = bridge.standing.get(rail.wallet_id, (None, None))
    if is_unwell(bridge, rail, now=bridge.clock()):
        raise Unavailable("rail_unwell", "It is not well, or does not answer.")
    return f"inbound {health.inbound_sat}" if health is not None and health.inbound_sat is not None else "ok"


def _price(bridge: Bridge, currency: str) -> str:
    rate = current_rate(bridge, currency, bridge.clock())
    return f"{len(rate.samples)} sources"
