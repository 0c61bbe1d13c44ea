"""Reads the answer to a send, the one call whose effect cannot be undone.

Owns the line between sent, surely not sent and unknown (contract 7, 11.4); must not repeat a send or choose a key.
"""

import logging
from collections.abc import Mapping

from bridge.core.errors import BridgeError, OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import Sent
from bridge.outbound import Reply
from bridge.rails.subtc import wire

log = logging.getLogger(__name__)

# These say that some call with this key exists, or that the call was cut short: its outcome is what is unknown.
_DOUBTFUL_STATUSES = frozenset({408, 409, 425})


def read_sent(reply: Reply, *, gross_sat: int, echo: Mapping[str, object]) -> Sent:
    """The gateway's account of a send. Raises Unavailable (429), Refused or OutcomeUnknown."""
    if reply.status == 429:
        raise wire.rate_limited(reply)
    try:
        answer = wire.envelope(reply)
        if isinstance(answer, wire.Refusal):
            raise _refused(answer)
        wire.check_echo(answer, **echo)
        sent = wire.sent(answer, gross_sat=gross_sat)
    except (Unavailable, ProtocolError) as error:
        raise unknown_outcome(error.detail) from None
    if sent.sent_sat + sent.fee_sat != sent.requested_sat:
        # Money has moved: the gateway's numbers are booked as they are, the difference is for a person (contract 9.5).
        log.warning("the fee of a send does not add up", extra={"action": "subtc_send_fee_differs", "txid": sent.txid})
    return sent


def unknown_outcome(why: str) -> OutcomeUnknown:
    """The error that forbids a new key."""
    return OutcomeUnknown("send_outcome_unknown", f"It is unknown whether this send happened: {why}")


def _refused(refusal: wire.Refusal) -> BridgeError:
    """Only a clean refusal of another kind means "not sent": SEND_FAILED may hide a broadcast behind "rpc error"."""
    said = f"SUBTC refused with {refusal.code} (HTTP {refusal.status})"
    doubtful = refusal.code == "SEND_FAILED" or "IDEMPOTENCY" in refusal.code
    if doubtful or refusal.status >= 500 or refusal.status in _DOUBTFUL_STATUSES:
        return unknown_outcome(said)
    return Refused("provider_refused", f"{said}.")
