"""Reads what SUBTC says, strictly, by rules 7 and 11.1 of the contract: replies, the answer to a send, the one call whose effect
cannot be undone, and signatures of callbacks, should a gateway ever send one.

Owns the envelope, the member types, the sorting of failures, and the line between sent, surely not sent and unknown (contract 7, 11.4);
must not send anything, repeat a send, choose its key or see the key of a wallet. A signature is not relied on: the contract names none
(section 6), so its check is off by default, and a valid one still only rings the doorbell.
"""

import hmac
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.core.errors import BridgeError, OutcomeUnknown, ProtocolError, Refused, Unavailable
from bridge.core.evidence import Health, Sent, WalletBalance
from bridge.core.money import MAX_MONEY_SAT
from bridge.outbound import CallFailed, Reply

log = logging.getLogger(__name__)

Result = Mapping[str, Any]
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_TXID = re.compile(r"[0-9a-f]{64}")
# Of a send these say that some call with its key exists, or that the call was cut short: its outcome is what is unknown.
_DOUBTFUL_STATUSES = frozenset({408, 409, 425})


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A clean `ok: false`. `code` is the gateway's word, "UNNAMED" when it is not one."""

    status: int
    code: str


def envelope(reply: Reply) -> Result | Refusal:
    """The `result` of a reply, or the refusal it carries.

    Raises Unavailable when the reply cannot be read (a retry may help), ProtocolError when it breaks the contract.
    """
    if reply.status == 429:
        raise rate_limited(reply)
    if 300 <= reply.status < 400:
        raise ProtocolError(
            "provider_redirected", "SUBTC answered with a redirect, which would carry the key elsewhere."
        )
    parsed = _parsed(reply)
    if isinstance(parsed, dict) and parsed.get("ok") is False:
        return Refusal(status=reply.status, code=_code_of(parsed))
    if reply.status >= 500:
        raise Unavailable("provider_unavailable", f"SUBTC answered HTTP {reply.status}.")
    if reply.status >= 400:
        return Refusal(status=reply.status, code="UNNAMED")
    if not isinstance(parsed, dict) or parsed.get("ok") is not True:
        raise ProtocolError("provider_bad_envelope", "SUBTC answered without a literal ok: true.")
    if not isinstance(parsed.get("result"), dict):
        raise ProtocolError("provider_bad_envelope", "SUBTC answered ok: true without a result object.")
    result: Result = parsed["result"]
    return result


def refused(refusal: Refusal) -> Refused | Unavailable:
    """A refusal of a read as the error to raise: 5xx may pass, everything else is surfaced and not repeated blindly."""
    detail = f"SUBTC refused with {refusal.code} (HTTP {refusal.status})."
    if refusal.status >= 500:
        return Unavailable("provider_unavailable", detail)
    return Refused("provider_refused", detail)


def rate_limited(reply: Reply) -> Unavailable:
    """429 as the error to raise, with its Retry-After."""
    wait = reply.retry_after_seconds()
    return Unavailable("provider_rate_limited", "SUBTC asks to slow down.", retry_after_seconds=wait)


def failed_read(failure: CallFailed) -> Unavailable | ProtocolError:
    """A call without a whole answer, for calls that may be repeated."""
    if failure.reason == "too_large":
        return ProtocolError("provider_answer_too_large", "SUBTC answered with more bytes than any answer needs.")
    return Unavailable("provider_unreachable", f"SUBTC could not be asked ({failure.reason}).")


def sat(result: Result, member: str) -> int:
    """An amount in satoshi: a JSON integer within 0 and 21 million bitcoin, nothing that merely looks like one."""
    value = result.get(member)
    if type(value) is not int or not 0 <= value <= MAX_MONEY_SAT:
        raise ProtocolError("provider_bad_amount", f"SUBTC answered without a valid {member}.", field=member)
    return value


def text(result: Result, member: str) -> str:
    """A non-empty string member of sane length."""
    value = result.get(member)
    if not isinstance(value, str) or not 0 < len(value) <= 512 or not value.isprintable():
        raise ProtocolError("provider_bad_member", f"SUBTC answered without a valid {member}.", field=member)
    return value


def check_echo(result: Result, **asked: object) -> None:
    """Raise ProtocolError unless each echoed member equals what was asked; a tuple lists accepted values."""
    for member, expected in asked.items():
        accepted = expected if isinstance(expected, tuple) else (expected,)
        answered = result.get(member)
        same = any(type(answered) is type(value) and answered == value for value in accepted)
        if member in result and not same:
            raise ProtocolError("provider_other_answer", f"SUBTC answered about another {member}.", field=member)


def received(result: Result, *, expected_sat: int) -> tuple[int, bool]:
    """`received_sat` and `reached` of a poll (contract 5.10, 11.2). Raises ProtocolError `provider_disagrees`."""
    received_sat, reached = sat(result, "received_sat"), result.get("reached")
    if type(reached) is not bool:
        raise ProtocolError("provider_bad_member", "SUBTC answered without a valid reached.", field="reached")
    if reached != (received_sat >= expected_sat):
        raise ProtocolError("provider_disagrees", "SUBTC's reached contradicts its own received_sat.", field="reached")
    return received_sat, reached


def wallet_balance(result: Result) -> WalletBalance:
    """`wallet_balance` (contract 5.8); the mainnet captures have no immature_sat."""
    return WalletBalance(
        balance_sat=sat(result, "balance_sat"),
        confirmed_sat=sat(result, "confirmed_sat"),
        unconfirmed_sat=sat(result, "unconfirmed_sat"),
        immature_sat=sat(result, "immature_sat") if "immature_sat" in result else 0,
    )


def sent(result: Result, *, gross_sat: int) -> Sent:
    """`wallet_send` (contract 5.9, 11.4). Raises ProtocolError, which for a send means that the outcome is unknown."""
    txid = text(result, "txid")
    if not _TXID.fullmatch(txid):
        raise ProtocolError("provider_bad_member", "SUBTC answered without a valid txid.", field="txid")
    requested_sat = sat(result, "requested_sat")
    if requested_sat != gross_sat:
        raise ProtocolError("provider_other_answer", f"SUBTC sent another amount in {txid}.", field="requested_sat")
    fee_member = "service_fee_sat" if "service_fee_sat" in result else "fee_sat"
    return Sent(
        txid=txid, requested_sat=requested_sat, sent_sat=sat(result, "sent_sat"), fee_sat=sat(result, fee_member)
    )


def health(reply: Reply, *, net: str) -> Health:
    """`/health` in any of its three published forms (contract 5.1): all members optional, in `result` or at the top."""
    if reply.status == 429:
        raise rate_limited(reply)
    parsed = _parsed(reply)
    if not isinstance(parsed, dict):
        raise ProtocolError("provider_bad_envelope", "SUBTC's health is not an object.")
    inner = parsed["result"] if isinstance(parsed.get("result"), dict) else {}
    members = {**parsed, **inner}
    flags = ("configured", f"{net}net", f"{net}net_synced")
    well = parsed.get("ok") is True and reply.status == 200 and all(members.get(flag) is not False for flag in flags)
    return Health(
        ok=well,
        fee_bps=_small_int(members.get("fee_bps"), most=10_000),
        min_send_sat=_small_int(members.get("min_send_sat"), most=MAX_MONEY_SAT),
        server_time=reply.date(),
    )


def _small_int(value: object, *, most: int) -> int | None:
    return value if type(value) is int and 0 <= value <= most else None


def _parsed(reply: Reply) -> object:
    try:
        return reply.json()
    except ValueError:
        if 400 <= reply.status < 500:
            return None
        raise Unavailable("provider_unreadable", f"SUBTC's answer (HTTP {reply.status}) cannot be read.") from None


def _code_of(parsed: Mapping[str, Any]) -> str:
    code = parsed.get("error")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "UNNAMED"


def read_sent(reply: Reply, *, gross_sat: int, echo: Mapping[str, object]) -> Sent:
    """The gateway's account of a send. Raises Unavailable (429), Refused or OutcomeUnknown."""
    if reply.status == 429:
        raise rate_limited(reply)
    try:
        answer = envelope(reply)
        if isinstance(answer, Refusal):
            raise _refused_send(answer)
        check_echo(answer, **echo)
        told = sent(answer, gross_sat=gross_sat)
    except (Unavailable, ProtocolError) as error:
        raise unknown_outcome(error.detail) from None
    if told.sent_sat + told.fee_sat != told.requested_sat:
        # Money has moved: the gateway's numbers are booked as they are, the difference is for a person (contract 9.5).
        log.warning("the fee of a send does not add up", extra={"action": "subtc_send_fee_differs", "txid": told.txid})
    return told


def unknown_outcome(why: str) -> OutcomeUnknown:
    """The error that forbids a new key."""
    return OutcomeUnknown("send_outcome_unknown", f"It is unknown whether this send happened: {why}")


def _refused_send(refusal: Refusal) -> BridgeError:
    """Only a clean refusal of another kind means "not sent": SEND_FAILED may hide a broadcast behind "rpc error"."""
    said = f"SUBTC refused with {refusal.code} (HTTP {refusal.status})"
    doubtful = refusal.code == "SEND_FAILED" or "IDEMPOTENCY" in refusal.code
    if doubtful or refusal.status >= 500 or refusal.status in _DOUBTFUL_STATUSES:
        return unknown_outcome(said)
    return Refused("provider_refused", f"{said}.")


class CallbackSignature:
    """HMAC-SHA256 over the raw body in one header, as hexadecimal text, under the current or the previous secret."""

    def __init__(self, *, header: str, secrets: Sequence[bytes]):
        if not header or not secrets or not all(secrets):
            raise ValueError("a signature needs a header name and secrets that are not empty")
        self._header = header.lower()
        self._secrets = tuple(secrets)

    def __repr__(self) -> str:
        return f"CallbackSignature({self._header}, secrets redacted)"

    def is_valid(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the header signs exactly these bytes; a stranger's bytes raise nothing."""
        text = next((value for name, value in headers.items() if name.lower() == self._header), "")
        try:
            given = bytes.fromhex(text)
        except ValueError:
            return False
        # Of all secrets, whichever fits: the time tells nobody which.
        return any([hmac.compare_digest(hmac.digest(secret, body, "sha256"), given) for secret in self._secrets])
