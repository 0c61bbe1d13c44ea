"""What becomes of a refund before it is sent: its address is named or changed, or the shop says that it sent it itself.

Owns these two statements; approving is `payouts.decide_payout`'s, sending `payouts.send_payouts`'.
"""

import hmac
import re
from typing import Any

from bridge.context import Bridge
from bridge.core.addresses import check_payable
from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.core.evidence import Sent
from bridge.core.messages import check_signed
from bridge.core.payout import ROLES
from bridge.payouts.outcome import book_sent
from bridge.payouts.present import payout_json, refund_proof
from bridge.payouts.steps import found, note, set_destination
from bridge.permit import acting, check_actor_in, require_mode, require_words
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
    with acting(bridge, "payout.propose", actor=actor, reason=reason, unless="read_only") as act:
        tx, now = act.tx, act.now
        row = found(payouts.find(tx, lock=True, id=payout_id))
        if row.kind == "refund":
            after = set_destination(tx, bridge, row, address=address, actor=actor, reason=reason, now=now)
            return payout_json(tx, after)
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
    with acting(bridge, "payout.propose", actor=actor, reason=reason, now=now) as act:
        tx = act.tx
        row = _waiting(tx, payout_id, lock=True)
        if row.version != before.version:
            raise Conflict("payout_changed", "The payout was changed by somebody else; read it again.")
        # One payout of a wallet is under way at a time: who states the same transaction at once waits here for our commit.
        intended = payouts.change(tx, row, {"state": "submitting", "attempts": 1, "waiting": ""}, now=now)
        if txid in payouts.txids_to(tx, row.destination):
            raise Refused("txid_used", "This transaction is another refund's already.", field="txid")
        note(tx, bridge, intended, "own_send_stated", actor=actor, reason=reason, now=now, before=row.state)
        book_sent(tx, bridge, intended, sent, actor=actor, reason=reason, now=now)
        return payout_json(tx, payouts.find(tx, id=row.id))


def _waiting(tx: Tx, payout_id: str, *, lock: bool = False) -> Any:
    row = found(payouts.find(tx, lock=lock, id=payout_id))
    if row.role in ROLES:
        raise Refused("not_own_send", "The gateway sends this payout, not you.", field="txid")
    if row.state != "approved":
        raise Conflict("not_waiting", f"This payout is {row.state}; there is nothing to state.")
    return row
