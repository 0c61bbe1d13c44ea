"""A refund that the shop sent from its own wallet: stated by a person with its txid, believed because the chain shows it.

Owns that statement; it sends nothing, and whether the transaction is deep enough is `flows.confirm_payouts`' to see.
"""

import re
from typing import Any

from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.core.evidence import Sent
from bridge.core.payout import OWN_ROLE
from bridge.flows.context import Bridge
from bridge.flows.payout_outcome import book_sent
from bridge.flows.payout_steps import found, note
from bridge.flows.permit import check_actor_in, require_words
from bridge.flows.present_payout import payout_json
from bridge.store import payouts
from bridge.store.db import Tx

_TXID = re.compile(r"[0-9a-f]{64}")


def record_own_send(bridge: Bridge, payout_id: str, *, txid: str, actor: str, reason: str) -> dict[str, Any]:
    """Books an approved refund as sent by this transaction.

    Raises Refused (unknown_payout, forbidden, not_own_send, txid_missing, txid_not_seen, txid_other_sum, txid_used),
    Conflict("not_waiting") and Unavailable while no chain reader answers.
    """
    require_words(actor, reason)
    txid = txid.strip().lower()
    if not _TXID.fullmatch(txid):
        raise Refused("txid_missing", "Say by its txid which transaction it was.", field="txid")
    now = bridge.clock()
    with bridge.store.read() as tx:
        check_actor_in(tx, actor, "payout.propose", now=now)
        before = _waiting(tx, payout_id)
    if bridge.chain is None:
        raise Unavailable("chain_unavailable", "Without a chain reader nobody can see the transaction.")
    outputs = bridge.chain.read(before.destination, born_at=before.requested_at, asked_at=now).outputs
    arrived = [output.amount_sat for output in outputs if output.outpoint.startswith(f"{txid}:")]
    if not arrived:
        raise Refused("txid_not_seen", "No chain reader sees this transaction paying this address.", field="txid")
    if before.net_sat not in arrived:
        detail = f"This transaction pays {sum(arrived)} satoshi to the address, not {before.net_sat}."
        raise Refused("txid_other_sum", detail, field="txid")
    sent = Sent(txid=txid, requested_sat=before.net_sat, sent_sat=before.net_sat, fee_sat=0)
    with bridge.store.write() as tx:
        check_actor_in(tx, actor, "payout.propose", now=now)
        row = _waiting(tx, payout_id, lock=True)
        if row.version != before.version:
            raise Conflict("payout_changed", "The payout was changed by somebody else; read it again.")
        # One payout of a wallet is under way at a time: who states the same transaction at once waits here for our commit.
        payouts.change(tx, row, {"state": "submitting", "attempts": 1, "waiting": ""}, now=now)
        if txid in payouts.txids_to(tx, row.destination):
            raise Refused("txid_used", "This transaction is another refund's already.", field="txid")
        intended = found(payouts.find(tx, id=row.id))
        note(tx, bridge, intended, "own_send_stated", actor=actor, reason=reason, now=now, before=row.state)
        book_sent(tx, bridge, intended, sent, actor=actor, reason=reason, now=now)
        return payout_json(tx, payouts.find(tx, id=row.id))


def _waiting(tx: Tx, payout_id: str, *, lock: bool = False) -> Any:
    row = found(payouts.find(tx, lock=lock, id=payout_id))
    if row.role != OWN_ROLE:
        raise Refused("not_own_send", "The gateway sends this payout, not you.", field="txid")
    if row.state != "approved":
        raise Conflict("not_waiting", f"This payout is {row.state}; there is nothing to state.")
    return row
