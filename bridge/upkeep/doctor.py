"""The doctor: every condition for running well, each with what mends it.

Owns the list and its sentences; must not change anything but send one test event per merchant when asked to.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge, Merchant
from bridge.core.addresses import check_wallet_net
from bridge.core.clock import behind_chain
from bridge.core.errors import BridgeError
from bridge.core.evidence import Health
from bridge.core.rail import AddressSource, Rail
from bridge.invoices.record import event_body
from bridge.invoices.stage import stage_uses
from bridge.invoices.unread import missing_wallets
from bridge.people.policy import show_policy
from bridge.store import deliveries, generation, invoices, payouts, reconciliations, targets, wallets
from bridge.store.db import is_pooled
from bridge.upkeep.check import Thresholds, clock_behind, clock_faults, clock_skew_seconds, readiness

PASS, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One item: `state` is ok, warn or FAIL; `mend` says what to do about the last two. Never a secret."""

    name: str
    state: str
    detail: str = ""
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What only the outside of the bridge knows: its files and its settings.

    `loose_files`: config and secret files that others may read, `loose_database`: SQLite's. `inline_secrets`: settings whose
    secret stands in the file.
    """

    loose_files: tuple[str, ...] = ()
    loose_database: tuple[str, ...] = ()
    inline_secrets: tuple[str, ...] = ()
    fixed_prices: bool = False
    public_url: str = ""
    gap_limit: int = 20
    newest_backup_at: datetime | None = None


MENDS = {
    "database:database_read_only": "The server takes no writes: name the primary, or all servers with "
    "target_session_attrs=read-write; of SQLite give the program the right to write the file and its folder.",
    "database:database_fenced": "A former primary, an older copy or another database: name the right server, put the right files back, "
    "or say that this is the one from now on: `subtc-bridge after-failover --this-one`; see runbook database_down.",
    "database:database_log_missing": "Somebody removed the -wal file beside the database: leave the programs running, they bring "
    "back what they have open; find out who did it.",
    "generation": "Name a folder of this machine in state_directory, and let the database's user call pg_walfile_name and "
    "pg_control_system: else a former primary that comes back is taken for the database.",
    "database": "Run `subtc-bridge migrate`; check database_url, its rights and that the server runs.",
    "provider": "Check subtc.base_url and subtc.key; look at the gateway's status page; see runbook provider_down.",
    "provider_key": "The gateway refuses the key for this wallet: check subtc.key and subtc.wallet_id; see key rotation.",
    "gateway_terms": "Set subtc.fee_bps to what the gateway takes and payouts.min_send_sat to the least it sends; see runbook "
    "gateway-terms.",
    "chain": "Check chain.esplora or chain.core_rpc; without a chain reader only small invoices settle.",
    "chain:pruned": "The node has thrown away blocks from the time of open invoices, so it cannot say that nothing came; new payments "
    "are seen. Let an unpruned node read them (chain.core_rpc.url), or an Esplora server (chain.esplora).",
    "chain:not_searched": "The node's wallet is new: each open invoice's address is searched again from its birth. Until then silence "
    "closes nothing; new payments are seen at once. blockfilterindex=1 makes it much faster.",
    "chain:chain_scanning": "The node searches the past for new addresses: leave it time.",
    "chain:chain_wallet_not_loaded": "The node cannot load the wallet bridge-watch. If its debug.log says that the wallet goes beyond "
    "pruned data, move the folder wallets/bridge-watch away: a new one is made and searched again.",
    "chain:chain_login_wrong": "The node refuses the login: compare chain.core_rpc.user and password with its rpcauth.",
    "chain:chain_not_allowed": "The node does not take calls from this address: see its rpcallowip.",
    "chain:chain_busy": "The node has too many calls waiting: raise its rpcworkqueue, or see who else calls it.",
    "chain:chain_starting": "The node is starting: leave it time.",
    "chain:chain_node_too_old": "The node is older than Bitcoin Core 23: upgrade it.",
    "chain:history_cut": "The server does not list all transactions of an address: name another one, or your own node.",
    "chain:history_differs": "The server's list for an address lacks what it knows by its id: its index is incomplete, name another.",
    "chain:tip_behind": "The reader is behind the highest block that was seen: wait until it has caught up, or name another.",
    "chain:tip_stale": "The newest block is old: the reader stands still, or this machine's clock is ahead: check both.",
    "chain:clock_ahead": "The newest invoice was opened by a clock that was ahead: check UTC and the time service of every node.",
    "price": "Check prices.sources, prices.cross and min_sources; `curl` each URL from this machine; see runbook price_down.",
    "net_guard": "Network, wallet id and addresses must agree: take a wallet of this network.",
    "own_wallet": "Raise your wallet's gap limit above that run, then own_wallet.gap_limit; else it will not show later money.",
    "wallet_missing": "Name the wallet and its key under former_wallets (an own wallet: keep a chain reader) and reload; see runbook "
    "wallet_missing.",
    "former_wallet": "Sweep what is left, then take it out of former_wallets; see runbook moving-wallets.",
    "former_wallet_key": "The gateway refuses the key for this wallet: check former_wallets; see runbook moving-wallets.",
    "rail": "This way to pay is not offered while its node is unwell, behind or of another network: look at the node and at its section "
    "of the settings; see runbook rail_silent. The first way goes on.",
    "rail_inbound": "Amounts above that are not offered over it: open or rent inbound capacity, or lower most_sat to what can come in; "
    "see runbook rail_inbound.",
    "rail_clock": "Its machine's clock and this one's differ: a payment request would end too early or too late. Start a time service on "
    "both.",
    "rail_version": "This release was not tried with it: read its notes, try it on a test network, watch the first day.",
    "rail_key": "The node refuses the key or does not answer: check its section of the settings; see runbook "
    "rail_silent.",
    "cold_descriptor": "Compare the first address with the cold wallet's.",
    "receiving_branch": "Take the descriptor of the receiving branch, /0/* or /<0;1>/*, unless the wallet shows these addresses.",
    "keys_distinct": "Make a new secret for one of the roles named: one secret, one role.",
    "file_modes": "chmod 600 these files and chown them to the bridge's user.",
    "inline_secrets": "Move the secret into a file of its own and write ${file:/path} in its place.",
    "clock": "Start a time service (systemd-timesyncd or chrony) and check that UTC is right; see runbook clock_skew.",
    "billing": "Check notify_url, its certificate, allow_hosts and the notify secret on both sides; see runbook deliveries_parked. "
    "HTTP 401 before the first order is normal: BILLmanager's module learns its secret from a payment.",
    "heard": "The billing system opened no invoice and reported no statuses for long: `make -C plugin_stub check` there; is "
    "checkpay running, does it reach the inside address, is the API key right?",
    "backup": "Enable subtc-bridge-backup.timer or run `subtc-bridge backup`; see runbook backup_old.",
    "fixed_prices": "Remove prices.fixed: a fixed price loses money as soon as the market moves.",
    "unconfirmed_credit": "Set zero_conf_max_sat: 0, or keep it only for clients from whom the shop can bear that loss.",
    "staged_limits": "Raise the limits in steps only after the launch checklist: docs/launch-checklist.md.",
    "policy": "`subtc-bridge policy show` says what differs: reload the program, approve, reject, or mend the file.",
    "policy_people": "`subtc-bridge operator add NAME --role approver`: without approvers no change comes into force.",
    "stage": "The rest of today's invoices are refused; raise merchants.stage after the launch checklist, see runbook stage_reached.",
    "mode": "Find out who switched it and why with `subtc-bridge check`; then `subtc-bridge mode normal`.",
}


def examine(
    bridge: Bridge, place: Place, *, thresholds: Thresholds | None = None, tell_billing: bool = False
) -> list[Finding]:
    """Every item, passed or not. `tell_billing` sends each merchant's endpoint one signed test event."""
    limits = thresholds or Thresholds()
    findings = [*_ready(bridge), *_files(place)]
    rail = bridge.receiving
    if rail.balance is not None:
        findings.append(_attempt("provider_key", rail.balance))
        findings.append(_attempt("net_guard", lambda: check_wallet_net(rail.wallet_id, bridge.network)))
    if rail.health is not None:
        findings.append(_gateway_terms(bridge, rail.health))
    findings += _own_wallets(bridge, place)
    findings += _former_wallets(bridge)
    findings += _beside(bridge, limits)
    findings.append(_finding("keys_distinct", True, "every secret has one role; the settings are refused otherwise"))
    findings.append(_clock(bridge, limits))
    findings.append(_backup(place, bridge.clock(), limits))
    findings.append(_finding("fixed_prices", not place.fixed_prices, worst=_worst(bridge)))
    findings += [*_limits(bridge), *_stages(bridge)]
    findings += _policy(bridge)
    for merchant in bridge.merchants.values():
        findings += _both_ways(bridge, merchant, limits, tell_billing=tell_billing)
    return findings


def _finding(name: str, is_well: bool, detail: str = "", *, worst: str = FAIL) -> Finding:
    mend = "" if is_well else MENDS[name.partition(":")[0]]
    return Finding(name=name, state=PASS if is_well else worst, detail=detail, mend=mend)


def _attempt(name: str, step: Callable[[], object]) -> Finding:
    try:
        step()
    except BridgeError as error:
        return _finding(name, False, error.detail)
    return _finding(name, True)


def _worst(bridge: Bridge) -> str:
    """What is a warning on a test network is a failure where money is real."""
    return FAIL if bridge.network == "main" else WARN


def _ready(bridge: Bridge) -> Iterator[Finding]:
    for check in readiness(bridge):
        if not check.is_needed:
            continue  # it has findings of its own
        mend = MENDS.get(f"{check.name}:{check.detail}", MENDS[check.name.partition("_")[0]])
        yield Finding(
            name=check.name, state=PASS if check.ok else FAIL, detail=check.detail, mend="" if check.ok else mend
        )
        if check.name == "database" and check.ok:
            yield _finding("mode", check.detail.endswith("normal"), check.detail, worst=WARN)
            with bridge.store.read() as tx:
                yield _generation(bridge, generation.find(tx))
                if is_pooled(tx):
                    yield _finding(
                        "pooler", True, "a pooler stands between: named statements are off, work is found by polling"
                    )


def _generation(bridge: Bridge, row: Any) -> Finding:
    """Whether another database would be told from this one, also by a program that has just been started."""
    store = bridge.store
    told = f"the database is of generation {row.number}" if row is not None else "no worker has written it down yet"
    told += "" if store.fence.is_kept else "; it is kept in memory alone"
    is_named = row is None or row.timeline is not None or not store.is_postgresql
    told += "" if is_named else "; the server does not tell its timeline"
    return _finding("generation", store.fence.is_kept and is_named, told, worst=WARN)


def _files(place: Place) -> Iterator[Finding]:
    yield _finding("file_modes", not place.loose_files, ", ".join(place.loose_files))
    if place.loose_database:
        yield _finding("file_modes:database", False, ", ".join(place.loose_database), worst=WARN)
    yield _finding("inline_secrets", not place.inline_secrets, ", ".join(place.inline_secrets), worst=WARN)


def _gateway_terms(bridge: Bridge, ask: Callable[[], Health]) -> Finding:
    """What the gateway takes of a send and the least it sends, beside what the settings say. What it names itself counts."""
    try:
        health = ask()
        with bridge.store.read() as tx:
            last = payouts.newest_fee(tx)
    except Exception as error:  # a driver's own error too: say what kind, not what it printed
        return _finding("gateway_terms", False, getattr(error, "code", type(error).__name__), worst=WARN)
    told, least, own_least = health.fee_bps, health.min_send_sat or 0, bridge.payouts.min_send_sat
    named = bridge.receiving.fee_bps
    if told is None and named is None:
        took = f"; the last send took {last.paid_fee_sat} of {last.gross_sat} sat" if last is not None else ""
        detail = f"nobody names the fee, so people approve refunds and sweeps without knowing it{took}"
        return _finding("gateway_terms", False, detail, worst=WARN)
    said = (
        f"the gateway takes {told} bps"
        if told is not None
        else f"the gateway names no fee, subtc.fee_bps {named} counts"
    )
    differs = [f"subtc.fee_bps says {named}"] if None not in (told, named) and told != named else []
    differs += [f"payouts.min_send_sat says {own_least}"] if least > own_least else []
    detail = "; ".join([f"{said} and sends {max(least, own_least)} sat or more", *differs])
    return _finding("gateway_terms", not differs, detail, worst=WARN)


def _beside(bridge: Bridge, limits: Thresholds) -> Iterator[Finding]:
    """Whether each rail beside the first answers and takes the key, on which network, how much can come in, its clock and version.

    All of it warns but the key: the first way goes on without it.
    """
    for rail in bridge.beside:
        if rail.balance is not None:
            yield _attempt(f"rail_key:{rail.name}", rail.balance)
        try:
            health = rail.health() if rail.health is not None else None
            version = rail.version() if rail.version is not None else None
        except BridgeError as error:
            yield _finding(f"rail:{rail.name}", False, error.detail, worst=WARN)
            continue
        if health is not None:
            yield from _standing(bridge, rail, health, limits)
        if version is None:
            continue
        is_tried = version.startswith(rail.tried_with)
        detail = f"version {version}" if version else "it does not say its version"
        detail += "" if is_tried else f"; tried with {' and '.join(f'{each}x' for each in rail.tried_with)}"
        yield _finding(f"rail_version:{rail.name}", is_tried, detail, worst=WARN)


def _standing(bridge: Bridge, rail: Rail, health: Health, limits: Thresholds) -> Iterator[Finding]:
    network = health.network or "unknown, so it is judged with each offer"
    behind = health.blocks_behind
    synced = (
        "of its blocks it says nothing" if behind is None else f"{behind} blocks behind" if behind else "up to date"
    )
    is_well = health.ok and health.network in ("", bridge.network)
    yield _finding(f"rail:{rail.name}", is_well, f"network {network}; {synced}", worst=WARN)
    room, most_sat = health.inbound_sat, _most_offered(bridge, rail)
    told = f"{room} sat can come in" if room is not None else "it does not say how much can come in"
    told += f", up to {most_sat} sat are offered" if most_sat is not None else ""
    has_room = room is None or room >= max(rail.least_units, most_sat or 0)
    yield _finding(f"rail_inbound:{rail.name}", has_room, told, worst=WARN)
    if health.server_time is not None:
        skew = int((bridge.clock() - health.server_time).total_seconds())
        is_near = abs(skew) <= limits.clock_skew_seconds
        yield _finding(f"rail_clock:{rail.name}", is_near, f"{skew} s against it", worst=WARN)


def _most_offered(bridge: Bridge, rail: Rail) -> int | None:
    """The biggest amount that any merchant offers over it; None: any."""
    limits = []
    for merchant in bridge.merchants.values():
        rules = [rule.most_sat for way, rule in merchant.offering.items() if way == rail.way]
        limits.append([each for each in (rail.most_units, *rules) if each is not None])
    return max((min(each) for each in limits), default=rail.most_units) if all(limits) else None


def _own_wallets(bridge: Bridge, place: Place) -> Iterator[Finding]:
    """The first address of each descriptor, for a person to compare, and whether a wallet still finds what comes later."""
    cold, own = bridge.treasury.cold_descriptor, bridge.receiving.derives
    if cold is not None:
        yield _finding("cold_descriptor", True, _first_address(cold))
        yield from _branch("cold_descriptor", cold)
    if own is None:
        return
    yield from _branch("own_wallet", own)
    try:
        with bridge.store.read() as tx:
            used = wallets.use_of(tx, own.wallet_id)
    except Exception as error:  # a driver's own error: the database has a finding of its own
        yield _finding("own_wallet", False, f"{_first_address(own)}; not counted: {type(error).__name__}")
        return
    told = f"{used.next_index} given out, at most {used.unpaid_run} in a row without money"
    yield _finding("own_wallet", used.unpaid_run < place.gap_limit, f"{_first_address(own)}; {told}", worst=WARN)


def _branch(name: str, source: AddressSource) -> Iterator[Finding]:
    """Only said when there is something to say: nearly every wallet is given by its receiving branch."""
    if source.warning:
        yield _finding(f"receiving_branch:{name}", False, source.warning, worst=WARN)


def _former_wallets(bridge: Bridge) -> Iterator[Finding]:
    """Whether everything that is open has a wallet in the settings, and whether each former one is read and still needed."""
    now = bridge.clock()
    try:
        with bridge.store.read() as tx:
            missing, waiting = missing_wallets(tx, bridge), Counter[str]()
            for (wallet_id, _), count in targets.open_by_wallet(tx).items():
                waiting[wallet_id] += count
            until = {each: invoices.watched_until(tx, each) for each in bridge.former}
            held = {row.wallet_id: row.confirmed_sat for row in wallets.balances(tx)}
    except Exception as error:  # a driver's own error: say what kind, not what it printed
        yield _finding("wallet_missing", False, type(error).__name__)
        return
    yield _finding("wallet_missing", not missing, "; ".join(missing))
    for each, former in bridge.former.items():
        if former.balance is not None:
            yield _attempt(f"former_wallet_key:{each}", former.balance)
        last_at = until[each]
        if waiting[each] or (last_at is not None and last_at > now):
            detail = f"{waiting[each]} open invoices; the last is watched until {last_at:%Y-%m-%d %H:%M} UTC"
            yield _finding(f"former_wallet:{each}", True, detail)
        else:
            since = f"since {last_at:%Y-%m-%d %H:%M} UTC" if last_at is not None else "and never was"
            detail = f"former wallet {each} is not needed any more {since}; {held.get(each, 0)} sat lay there when it was last read"
            yield _finding(f"former_wallet:{each}", False, detail, worst=WARN)


def _first_address(source: AddressSource) -> str:
    return f"its first address must be {source.address(0)}, compare it with your wallet"


def _clock(bridge: Bridge, limits: Thresholds) -> Finding:
    """Our clock against the gateway's, the chain's and what was stored."""
    told = [*_against_gateway(bridge, limits), *_against_chain(bridge), *_against_stored(bridge, limits)]
    states = [state for state, _ in told]
    worst = next((state for state in (FAIL, WARN) if state in states), PASS)
    detail = "; ".join(words for state, words in told if state == worst or worst == PASS)
    return _finding("clock", worst == PASS, detail, worst=worst)


def _against_gateway(bridge: Bridge, limits: Thresholds) -> Iterator[tuple[str, str]]:
    if bridge.receiving.health is None:
        return
    try:
        skew = clock_skew_seconds(bridge)
    except BridgeError as error:
        yield FAIL, f"the gateway did not tell the time: {error.code}"
        return
    if skew is None:
        yield WARN, "the gateway sends no Date header: nothing to compare with"
        return
    yield PASS if abs(skew) <= limits.clock_skew_seconds else FAIL, f"{skew} s against the gateway"


def _against_chain(bridge: Bridge) -> Iterator[tuple[str, str]]:
    """Block times are hours off at most, and the only clock of an own wallet that is not ours."""
    if bridge.chain is None:
        return
    try:
        block_time = bridge.chain.tip().time
    except BridgeError as error:
        yield WARN, f"the chain did not tell the time: {error.code}"
        return
    now = bridge.clock()
    told = f"{int((now - block_time).total_seconds())} s after the newest block"
    if behind := behind_chain(block_time, now=now):
        yield FAIL, clock_behind(behind)
    elif bridge.oldest_tip is not None and now - block_time > bridge.oldest_tip:
        yield FAIL, f"{told}: the chain's source stands still, or this machine's clock is ahead"
    else:
        yield PASS, told


def _against_stored(bridge: Bridge, limits: Thresholds) -> Iterator[tuple[str, str]]:
    try:
        with bridge.store.read() as tx:
            faults = clock_faults(tx, bridge, now=bridge.clock(), limits=limits)
    except Exception as error:  # a driver's own error: the database has a finding of its own
        faults = [f"what is stored could not be read: {type(error).__name__}"]
    yield from ((WARN, fault) for fault in faults)


def _backup(place: Place, now: datetime, limits: Thresholds) -> Finding:
    newest = place.newest_backup_at
    fresh = newest is not None and now - newest <= timedelta(seconds=limits.backup_age_seconds)
    return _finding("backup", fresh, f"newest {newest:%Y-%m-%d %H:%M} UTC" if newest else "none yet", worst=WARN)


def _policy(bridge: Bridge) -> Iterator[Finding]:
    """Whether what is in force is what the file says, and whether anybody could approve a change."""
    if bridge.policy_file is None:
        return
    try:
        state = show_policy(bridge)
    except Exception as error:  # a driver's own error: say what kind, not what it printed
        yield _finding("policy", False, getattr(error, "detail", type(error).__name__))
        return
    active, waiting = state["active"], [str(each["number"]) for each in state["proposed"]]
    detail = f"version {active['number']} is in force" + (f", {', '.join(waiting)} waits" if waiting else "")
    detail += "" if state["file"] == "active" else f"; the settings file says something else ({state['file']})"
    yield _finding("policy", state["file"] == "active" and not waiting, detail, worst=WARN)
    yield _finding("policy_people", state["approvers"] > 0 or not state["approvals"], worst=WARN)


def _limits(bridge: Bridge) -> Iterator[Finding]:
    """Amounts that a new installation should not let through without a person."""
    for merchant in bridge.merchants.values():
        rules = [merchant.policy.default, *merchant.policy.tiers.values()]
        bold = [f"{rule.name}.provider_only_max_sat" for rule in rules if rule.provider_only_max_sat]
        yield _finding(f"staged_limits:{merchant.id}", not bold, ", ".join(bold), worst=WARN)
        lost = [f"{rule.name} up to {rule.zero_conf_max_sat} sat" for rule in rules if rule.zero_conf_max_sat]
        detail = f"any unconfirmed payment can be replaced; to lose of each invoice: {', '.join(lost)}" if lost else ""
        yield _finding(f"unconfirmed_credit:{merchant.id}", not lost, detail, worst=WARN)


def _stages(bridge: Bridge) -> Iterator[Finding]:
    """How far merchants on trial are with their day; one without a stage is said to have none."""
    try:
        with bridge.store.read() as tx:
            uses = {use.merchant: use for use in stage_uses(tx, bridge, now=bridge.clock())}
    except Exception as error:  # a driver's own error: say what kind, not what it printed
        yield _finding("stage", False, type(error).__name__)
        return
    for name in bridge.merchants:
        use = uses.get(name)
        detail = use.text() if use is not None else "no stage: nothing is limited per day"
        yield _finding(f"stage:{name}", use is None or not use.is_used_up, detail, worst=WARN)


def _both_ways(bridge: Bridge, merchant: Merchant, limits: Thresholds, *, tell_billing: bool) -> Iterator[Finding]:
    """Whether the billing system can be told, and whether it calls: by a test event when asked to, else by what last happened."""
    now = bridge.clock()
    try:
        with bridge.store.read() as tx:
            tried = deliveries.newest_attempt(tx, merchant.id)
            reported_at = reconciliations.newest_report_at(tx, now=now).get(merchant.id)
            opened_at = invoices.newest_created_at(tx, merchant.id)
    except Exception as error:  # a driver's own error: say what kind, not what it printed
        yield _finding(f"billing:{merchant.id}", False, type(error).__name__)
        return
    if not merchant.wants_push:
        yield _finding(f"billing:{merchant.id}", True, "no notify_url: it fetches its events")
    elif tell_billing:
        yield _billing(bridge, merchant.id)
    elif tried is None:
        detail = "nothing was ever sent there; --tell-billing sends a test event"
        yield _finding(f"billing:{merchant.id}", False, detail, worst=WARN)
    else:
        detail = f"the last message was {tried.outcome} on {tried.at:%Y-%m-%d %H:%M} UTC"
        yield _finding(f"billing:{merchant.id}", tried.outcome == "delivered", detail)
    heard_at = max((at for at in (reported_at, opened_at) if at is not None), default=None)
    is_fresh = heard_at is not None and now - heard_at <= timedelta(seconds=limits.billing_silent_seconds)
    detail = f"it last called on {heard_at:%Y-%m-%d %H:%M} UTC" if heard_at is not None else "it has never called"
    yield _finding(f"heard:{merchant.id}", is_fresh, detail, worst=WARN)


def _billing(bridge: Bridge, merchant: str) -> Finding:
    now, event_id = bridge.clock(), bridge.new_id("evt")
    body = event_body(event_id, "test", 0, now, None).encode()
    answer = bridge.billing.notify(merchant, event_id=event_id, body=body, now=now)
    detail = f"HTTP {answer.status}" if answer.status is not None else str(answer.error)
    return _finding(f"billing:{merchant}", answer.outcome == "delivered", detail)
