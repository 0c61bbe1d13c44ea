"""What must be true of a bridge whatever happened to it, read from its database and from the sandbox.

Owns the list of truths; must not repair anything.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import text

from bridge.books.compare import wallet_variances
from bridge.books.verify import balances, book_differences, verify_audit
from bridge.config import load_settings
from bridge.context import Bridge
from bridge.runtime import build
from sandbox.world import World


def faults_in(config: Path, world: World) -> list[str]:
    """Every broken promise in words; empty when nothing was lost and nothing done twice."""
    bridge = build(load_settings(config))
    try:
        return [*_double_rows(bridge), *_books(bridge), *_money(bridge, world), *_history(bridge)]
    finally:
        bridge.store.close()


_TWICE = {
    "one invoice per billing payment": "SELECT merchant || billing_payment_id FROM invoices GROUP BY 1 HAVING count(*) > 1",
    "one address per invoice": "SELECT address FROM invoices GROUP BY 1 HAVING count(*) > 1",
    "one settled event per invoice": (
        "SELECT invoice_id FROM events WHERE type = 'invoice.settled' GROUP BY 1 HAVING count(*) > 1"
    ),
    "one request per target": "SELECT key FROM targets WHERE key IS NOT NULL GROUP BY 1 HAVING count(*) > 1",
    "one payment per output": "SELECT key FROM payments WHERE NOT replaced GROUP BY 1 HAVING count(*) > 1",
    "one settlement booked": "SELECT invoice_id FROM journals WHERE kind = 'settle' GROUP BY 1 HAVING count(*) > 1",
    "sequences without a gap": (
        "SELECT invoice_id FROM events WHERE invoice_id IS NOT NULL GROUP BY 1 HAVING max(sequence) <> count(*)"
    ),
    "every settled invoice told": (
        "SELECT id FROM invoices WHERE settled_at IS NOT NULL AND id NOT IN "
        "(SELECT invoice_id FROM events WHERE type = 'invoice.settled')"
    ),
    "every event numbered once": "SELECT id FROM events WHERE id NOT IN (SELECT event_id FROM event_positions)",
    "every event delivered or parked": "SELECT id FROM deliveries WHERE state = 'pending'",
    "no lease left of the dead": "SELECT id FROM invoices WHERE lease_until IS NOT NULL AND lease_owner IS NULL",
}


def rows(bridge: Bridge, statement: str) -> list[Any]:
    with bridge.store.read() as tx:
        return list(tx.execute(text(statement)))


def _double_rows(bridge: Bridge) -> list[str]:
    return [f"{what}: broken for {found}" for what, statement in _TWICE.items() if (found := rows(bridge, statement))]


def _books(bridge: Bridge) -> list[str]:
    unbalanced = [asset for asset, accounts in balances(bridge).items() if sum(accounts.values())]
    return [f"ledger does not balance in {asset}" for asset in unbalanced] + [
        f"books differ from facts: {difference}" for difference in book_differences(bridge)
    ]


def _money(bridge: Bridge, world: World) -> list[str]:
    """The ledger's wallets equal what the simulated gateway and Lightning server say they hold, and reconciliation agrees."""
    with world.lock:
        wallet = next(wallet for account in world.gateway.accounts.values() for wallet in account.wallets.values())
        confirmed_sat, unconfirmed_sat = world.gateway.balance(wallet)
        lightning_sat = came_over_lightning_sat(world)
    booked = balances(bridge).get("BTC", {})
    pairs = {"wallet:hot": confirmed_sat, "inflight:unconfirmed": unconfirmed_sat, "wallet:lightning": lightning_sat}
    return [
        f"{account}: {booked.get(account, 0)} booked, {held} held by the gateway"
        for account, held in pairs.items()
        if booked.get(account, 0) != held
    ] + [f"reconciliation finds {sat} sat in {role}" for role, sat in wallet_variances(bridge)[0].items() if sat]


def came_over_lightning_sat(world: World) -> int:
    """What is there for good, of each payment the whole satoshi. Callers hold the world's lock."""
    return sum(p.amount_msat // 1_000 for p in world.lightning.payments if p.is_incoming and p.status == "success")


def _history(bridge: Bridge) -> list[str]:
    report = verify_audit(bridge)
    return [] if report.is_intact else [report.detail]
