"""Paying a request of Lightning over a node of one's own: what every rail that does so says alike.

Owns the words for what was paid, what surely was not and what nobody knows; must not ask a node.
"""

from collections.abc import Callable
from typing import TypeVar

from bridge.core.errors import BridgeError, OutcomeUnknown, Unavailable
from bridge.core.evidence import Sent
from bridge.lightning.bolt11 import MSAT, Bolt11, judged
from bridge.outbound import CallFailed

Said = TypeVar("Said")


class NotSent(Unavailable):
    """Unavailable, and certainly before anything was done."""


def asked_in(destination: str, *, sat: int, network: str) -> Bolt11:
    """The request for exactly `sat` that a destination is; one whose time is over may have been paid before."""
    return judged(destination, network=network, due_msat=sat * MSAT, now=None, field="destination")


def paid(asked: Bolt11, *, sat: int, fee_msat: int) -> Sent:
    return Sent(txid=asked.payment_hash, requested_sat=sat, sent_sat=sat, fee_sat=-(-fee_msat // MSAT))


def unknown(why: str) -> OutcomeUnknown:
    """The error that forbids another payment of the same money."""
    return OutcomeUnknown("send_outcome_unknown", f"It is unknown whether this payment happened: {why}")


def afterwards(ask: Callable[[], Said]) -> Said:
    """What a node says of a payment after the call, however that ended. Its silence leaves open what came of it."""
    try:
        return ask()
    except BridgeError as silent:
        raise unknown(f"it could not be asked afterwards: {silent.detail}") from None


def unreachable(name: str, failure: CallFailed) -> Unavailable:
    kind = Unavailable if failure.maybe_sent else NotSent
    return kind("provider_unreachable", f"{name} could not be asked ({failure.reason}).")
