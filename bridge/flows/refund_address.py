"""Where a refund goes: named by the payer in a form that the billing system or an operator handed on, or by an operator.

Owns both ways; every change after an approval voids it, `flows.payout_steps` does that.
"""

import hmac
from typing import Any

from bridge.core.addresses import check_payable
from bridge.core.errors import Refused
from bridge.core.messages import check_signed
from bridge.flows.context import Bridge
from bridge.flows.modes import require_mode
from bridge.flows.payout_steps import found, note, set_destination
from bridge.flows.permit import check_actor_in, require_words
from bridge.flows.present_payout import payout_json, refund_proof
from bridge.store import invoices, payouts
from bridge.store.db import Tx


def refund_form(bridge: Bridge, public_id: str, *, proof: str) -> dict[str, Any]:
    """What the payer's form shows: the refund's figures and state, nothing of people. Raises as `set_refund_address`."""
    with bridge.store.read() as tx:
        invoice = _invoice(invoices.find(tx, public_id=public_id))
        row = _of_proof(tx, bridge, invoice, proof)
    return {
        "state": row.state,
        "net_sat": row.net_sat,
        "is_fee_known": row.fee_bps is not None,
        "sent_sat": row.sent_sat,
        "destination": row.destination,
        "network": row.network,
        "txid": row.txid,
        "message": message_to_sign(bridge, invoice),
        "may_change": row.state in ("requested", "approved") and not row.attempts,
    }


def message_to_sign(bridge: Bridge, invoice: Any) -> str:
    """What the payer may sign with the key of the address, to show that it is theirs."""
    return f"Refund of {invoice.id}, {bridge.public_url}"


def set_refund_address(
    bridge: Bridge, public_id: str, *, address: str, proof: str, signature: str = ""
) -> dict[str, Any]:
    """The payer names the address of the refund; again is allowed until it is sent. Returns what the form shows.

    `signature` over `message_to_sign` is optional; a wrong one refuses the address.
    Raises Refused (unknown_invoice, bad_proof, already_submitted, bad_address, wrong_network, own_address,
    signature_differs, signature_unsupported, signature_time_locked).
    """
    now = bridge.clock()
    reason = "named by the payer"
    if signature.strip():
        _check_signature(bridge, public_id, address=address, proof=proof, signature=signature)
        reason = "named by the payer, signed with its key"
    with bridge.store.write() as tx:
        require_mode(tx, "read_only")
        invoice = _invoice(invoices.find(tx, lock=True, public_id=public_id))
        row = found(payouts.find(tx, lock=True, id=_of_proof(tx, bridge, invoice, proof).id))
        set_destination(tx, bridge, row, address=address, actor="payer", reason=reason, now=now)
    return refund_form(bridge, public_id, proof=proof)


def _check_signature(bridge: Bridge, public_id: str, *, address: str, proof: str, signature: str) -> None:
    """Only for who holds the link, and before anything is locked: a script of a stranger's choice may take its time."""
    with bridge.store.read() as tx:
        invoice = _invoice(invoices.find(tx, public_id=public_id))
        _of_proof(tx, bridge, invoice, proof)
    checked = check_payable(address.strip(), network=bridge.network)
    check_signed(message_to_sign(bridge, invoice), address=checked, signature=signature)


def change_address(bridge: Bridge, payout_id: str, *, address: str, actor: str, reason: str) -> dict[str, Any]:
    """An operator names the address. Raises Refused like `set_refund_address`, and unknown_payout and forbidden.

    Whoever tries to send a sweep elsewhere is refused, and that stays on record.
    """
    require_words(actor, reason)
    now = bridge.clock()
    with bridge.store.write() as tx:
        require_mode(tx, "read_only")
        check_actor_in(tx, actor, "payout.propose", now=now)
        row = found(payouts.find(tx, lock=True, id=payout_id))
        if row.kind == "refund":
            set_destination(tx, bridge, row, address=address, actor=actor, reason=reason, now=now)
            return payout_json(tx, payouts.find(tx, id=payout_id))
        wanted = {"wanted": address[:100]}
        action = f"{row.kind}_refused"
        note(tx, bridge, row, action, actor=actor, reason=reason, now=now, before=row.state, more=wanted)
    raise Refused("fixed_destination", "Only a refund's address can be named.", field="address")


def _of_proof(tx: Tx, bridge: Bridge, invoice: Any, proof: str) -> Any:
    """The refund whose form this proof opens."""
    for row in payouts.listing(tx, match={"invoice_id": invoice.id, "kind": "refund"}, limit=100):
        if hmac.compare_digest(refund_proof(bridge, row.id).encode(), proof.encode("utf-8", "replace")):
            return row
    raise Refused("bad_proof", "This link does not open the form; ask for a new one.", field="proof")


def _invoice(row: Any) -> Any:
    if row is None:
        raise Refused("unknown_invoice", "There is no such invoice.")
    return row
