"""Who is paid over Lightning, from what a person wrote: a payment request as it is, or the one that a Lightning address gives.

Owns that reading for every rail that sends; must not pay.
"""

from datetime import datetime

from bridge.core.rail import Offer
from bridge.lightning.address import is_address, resolved, to_strangers
from bridge.lightning.bolt11 import MSAT, judged
from bridge.outbound import Outbound

FIELD = "address"
_PREFIX = "lightning:"


class Payees:
    """Reads for one network. Threads may share it."""

    def __init__(self, network: str, *, outbound: Outbound | None = None):
        self._network, self._outbound = network, outbound or to_strangers()

    def read(self, text: str, *, sat: int, now: datetime) -> Offer:
        """The one request for exactly `sat` that is paid. A Lightning address is asked, outside of any transaction; a request is not.

        Raises what `address.resolved` and `bolt11.judged` raise.
        """
        written = text.strip()
        written = written[len(_PREFIX) :] if written.lower().startswith(_PREFIX) else written
        if is_address(written.lower()):
            asked = resolved(
                written.lower(), sat=sat, network=self._network, now=now, outbound=self._outbound, field=FIELD
            )
        else:
            asked = judged(written, network=self._network, due_msat=sat * MSAT, now=now, field=FIELD)
        return Offer(text=asked.text, key=asked.payment_hash, expires_at=asked.expires_at)

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()
