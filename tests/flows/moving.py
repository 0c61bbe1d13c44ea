"""A bridge after a restart with other wallets in its settings, over the same database and the same sandbox.

Owns that restart; must not copy a rule of the bridge.
"""

from dataclasses import replace
from typing import Any

from bridge.runtime import build
from tests.flows.world import KEY, WALLET, World, settings_for

NEW_KEY = "SUBTC-KEY-" + "c" * 48


def restarted(world: World, **settings: Any) -> World:
    """The same world under these settings; what was built before is not used any more."""
    built = build(settings_for(world.sandbox.url, str(world.bridge.store.engine.url), **settings))
    built.store.close()
    kept = {"store": world.bridge.store, "billing": world.billing, "clock": world.bridge.clock}
    return replace(world, bridge=replace(built, **kept))


def new_account(world: World) -> dict[str, str]:
    """Another key at the gateway with a wallet of its own, as `subtc` names them."""
    gateway = world.sandbox.world.gateway
    account = gateway.accounts.get(NEW_KEY) or gateway.create_key(NEW_KEY)
    made = gateway.create_wallet(account, net="test", version="6.1")
    return {"key": account.key, "wallet_id": made.wallet_id}


def old_account(world: World, **changes: Any) -> dict[str, Any]:
    """The wallet that every world begins with, as `former_wallets` names it."""
    return {"wallet_id": WALLET, "key": KEY, "base_url": world.sandbox.url} | changes


def moved(world: World, *, former: list[dict[str, Any]] | None = None, **settings: Any) -> World:
    """Key and wallet at the gateway are new ones; the old wallet is in the settings unless `former` says otherwise."""
    formers = [old_account(world)] if former is None else former
    return restarted(world, subtc=new_account(world), former_wallets=formers, **settings)
