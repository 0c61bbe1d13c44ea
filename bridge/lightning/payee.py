"""Who is paid over Lightning, from what a person wrote: a payment request as it is, or the one that a Lightning address (LUD-16) gives:
asked for before people approve a sum, never at the sending.

Owns that reading for every rail that sends, the two questions to a stranger's server (LUD-06) and what of its answers is believed; must
not pay. A second question gets another request, which could be paid besides the first: whoever keeps a request pays that one.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from bridge.core.errors import ProtocolError, Refused, Unavailable
from bridge.core.rail import Offer
from bridge.lightning.bolt11 import MSAT, Bolt11, judged
from bridge.outbound import CallFailed, Guard, Limits, Outbound

FIELD = "address"
_PREFIX = "lightning:"
_ADDRESS = re.compile(
    r"(?P<name>[a-z0-9_.+-]{1,64})@(?P<domain>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63})"
)
# Its own words about itself may hold pictures.
_LIMITS = Limits(max_bytes=512 * 1024)


def is_address(text: str) -> bool:
    """Whether it is written as one; nothing is asked."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def to_strangers() -> Outbound:
    """How servers are asked that a payer named: over https, at public addresses alone, not at this machine's own."""
    return Outbound(limits=_LIMITS, guard=Guard(allow_loopback=False))


def resolved(
    address: str, *, sat: int, network: str, now: datetime, outbound: Outbound, field: str = "destination"
) -> Bolt11:
    """A payment request for exactly `sat` from whoever the address belongs to.

    Raises Refused naming `field`: `bad_lightning_address`, `lightning_address_refuses`, `blocked_url`, what `judged` refuses; and
    Unavailable. That the request is about the address nobody but its server says, as with every address that a payer names.
    """
    parts = _ADDRESS.fullmatch(address) if len(address) <= 254 else None
    if parts is None:
        raise Refused("bad_lightning_address", "A Lightning address looks like name@example.com.", field=field)
    said = _asked(f"https://{parts['domain']}/.well-known/lnurlp/{quote(parts['name'])}", outbound, field)
    least, most = (_msat(said, member) for member in ("minSendable", "maxSendable"))
    callback = said.get("callback")
    if said.get("tag") != "payRequest" or not isinstance(callback, str):
        raise ProtocolError("lightning_address_unreadable", "The server of this address answers something else.")
    if not least <= sat * MSAT <= most:
        detail = f"This address takes {-(-least // MSAT)} to {most // MSAT} satoshi."
        raise Refused("lightning_address_refuses", detail, field=field)
    made = _asked(f"{callback}{'&' if '?' in callback else '?'}amount={sat * MSAT}", outbound, field)
    text = made.get("pr")
    return judged(text if isinstance(text, str) else "", network=network, due_msat=sat * MSAT, now=now, field=field)


def _asked(url: str, outbound: Outbound, field: str) -> Mapping[str, Any]:
    try:
        reply = outbound.call("GET", url)
    except CallFailed as failure:
        detail = f"The server of this address could not be asked ({failure.reason})."
        raise Unavailable("lightning_address_unavailable", detail) from None
    except Refused as blocked:
        raise Refused(
            blocked.code, f"The server of this address must not be asked: {blocked.detail}", field=field
        ) from None
    try:
        said = reply.json()
    except ValueError:
        said = None
    if reply.status == 404 or (isinstance(said, dict) and said.get("status") == "ERROR"):
        raise Refused("lightning_address_refuses", "The server of this address takes nothing for it.", field=field)
    if reply.status != 200 or not isinstance(said, dict):
        detail = f"The server of this address answered HTTP {reply.status} and nothing that can be read."
        raise Unavailable("lightning_address_unavailable", detail)
    return said


def _msat(said: Mapping[str, Any], member: str) -> int:
    value = said.get(member)
    if type(value) is not int or value < 0:
        raise ProtocolError("lightning_address_unreadable", f"The server of this address names no {member}.")
    return value


class Payees:
    """Reads for one network. Threads may share it."""

    def __init__(self, network: str, *, outbound: Outbound | None = None):
        self._network, self._outbound = network, outbound or to_strangers()

    def read(self, text: str, *, sat: int, now: datetime) -> Offer:
        """The one request for exactly `sat` that is paid. A Lightning address is asked, outside of any transaction; a request is not.

        Raises what `resolved` and `bolt11.judged` raise.
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
