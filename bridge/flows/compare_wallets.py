"""The gateway's whole wallets against our wallet accounts.

Owns these reads of a reconciliation; the comparison is `core.reconciliation`'s.
"""

from bridge.core.errors import BridgeError
from bridge.core.reconciliation import wallet_variance
from bridge.flows.call_budget import draw_call
from bridge.flows.context import Bridge
from bridge.logs import log
from bridge.store import reconciliations


def wallet_variances(bridge: Bridge) -> tuple[dict[str, int], int]:
    """Each wallet minus its books in satoshi, by role, and how many gateways did not answer. Books first, then wallets."""
    found: dict[str, int] = {}
    for role, (wallet_id, wallet) in bridge.wallets.items():
        with bridge.store.read() as tx:
            booked = reconciliations.balance_of(tx, (f"wallet:{role}", "inflight:unconfirmed"))
            baseline_sat = reconciliations.baseline_sat(tx, wallet_id)
            leaving_sat = reconciliations.leaving_sat(tx, wallet_id=wallet_id)
        try:
            draw_call(bridge)
            balance = wallet.balance()
        except BridgeError as error:
            log("reconciliation.wallet_unread", role=role, code=error.code)
            continue
        found[role] = wallet_variance(
            balance,
            baseline_sat=baseline_sat,
            confirmed_sat=booked[f"wallet:{role}"],
            # Clients pay into the hot wallet alone.
            unconfirmed_sat=booked["inflight:unconfirmed"] if role == "hot" else 0,
            leaving_sat=leaving_sat,
            by_depth=bridge.chain is not None,
        )
    return found, len(bridge.wallets) - len(found)
