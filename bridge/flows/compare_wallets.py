"""The gateway's whole wallets against our wallet accounts.

Owns these reads of a reconciliation; the comparison is `core.reconciliation`'s.
"""

from collections.abc import Mapping

from bridge.core.errors import BridgeError
from bridge.core.evidence import WalletBalance
from bridge.core.rail import WalletReader
from bridge.core.reconciliation import wallet_variance
from bridge.flows.call_budget import draw_call
from bridge.flows.context import Bridge
from bridge.logs import log
from bridge.store import reconciliations


def wallet_variances(bridge: Bridge) -> tuple[dict[str, int], int]:
    """The wallets of each role minus their books in satoshi, and of how many roles a wallet did not answer.

    Books first, then wallets. What a former wallet of a role still holds stands on the same account of the books.
    """
    found: dict[str, int] = {}
    by_role = bridge.readers_by_role
    for role, readers in by_role.items():
        with bridge.store.read() as tx:
            booked = reconciliations.balance_of(tx, (f"wallet:{role}", "inflight:unconfirmed"))
            baseline_sat = sum(reconciliations.baseline_sat(tx, wallet_id) for wallet_id in readers)
            leaving_sat = sum(reconciliations.leaving_sat(tx, wallet_id=wallet_id) for wallet_id in readers)
        balance = _together(bridge, role, readers)
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
        )
    return found, len(by_role) - len(found)


def _together(bridge: Bridge, role: str, readers: Mapping[str, WalletReader]) -> WalletBalance | None:
    """What the wallets of a role hold together; None when one of them does not answer."""
    total = WalletBalance(balance_sat=0, confirmed_sat=0, unconfirmed_sat=0, immature_sat=0)
    for wallet_id, reader in readers.items():
        try:
            draw_call(bridge)
            read = reader.balance()
        except BridgeError as error:
            log("reconciliation.wallet_unread", role=role, wallet_id=wallet_id, code=error.code)
            return None
        total = WalletBalance(**{name: sat + getattr(read, name) for name, sat in vars(total).items()})
    return total
