"""Reads SUBTC replies strictly, by rules 7 and 11.1 of the contract.

Owns the envelope, the member types and the sorting of failures; must not send anything or see the key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.core.errors import ProtocolError, Refused, Unavailable
from bridge.core.evidence import Health, Sent, WalletBalance
from bridge.core.money import MAX_MONEY_SAT
from bridge.outbound import CallFailed, Reply

Result = Mapping[str, Any]
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_TXID = re.compile(r"[0-9a-f]{64}")


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
