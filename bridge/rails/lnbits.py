"""The shop's own LNbits, in front of whatever node it stands: payers pay its invoices over Lightning, beside the first way.

Owns the calls, what their answers mean and what a lost answer leaves open; decides nothing about money. A webhook only rings: it is
unsigned, comes twice or never. That something was paid is known from its own answer alone, and the preimage of one proves nothing.
"""

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from bridge.config import Lnbits, Settings
from bridge.core.clock import CLOCK_TOLERANCE
from bridge.core.errors import BridgeError, ProtocolError, Refused, Unavailable
from bridge.core.evidence import (
    FINAL,
    NOT_IN_BLOCKS,
    ChainOutput,
    ChainReading,
    Health,
    KnownOutput,
    Sent,
    WalletBalance,
)
from bridge.core.money import MAX_MONEY_SAT
from bridge.core.rail import RAIL, Doorbell, Offer, Rail, Wanted
from bridge.lightning.bolt11 import MSAT, Bolt11, decoded, judged
from bridge.lightning.payee import Payees
from bridge.lightning.sending import NotSent, afterwards, asked_in, paid, unknown, unreachable
from bridge.outbound import CallFailed, Guard, Limits, Outbound, Reply, is_loopback

log = logging.getLogger(__name__)

CALLBACKS = "callbacks/lnbits"
# How the versions begin whose answers this was held against.
TRIED_WITH = ("1.6.",)
# It describes its whole interface where it says its version.
_DESCRIPTION_BYTES = 16 * 1024 * 1024
SOURCE = "lnbits"
_PENDING, _SUCCESS, _FAILED = "pending", "success", "failed"
# It marks by this what it gave up because its time was over; what else failed, its node knows no more.
_EXPIRED = "expired"
# A description is at most 639 bytes of a payment request.
_MEMO_LETTERS = 150
# Nodes may take up to twice of what was asked for (BOLT 4); what says more is no answer about this invoice.
_MOST_TIMES = 2
# So long its clock is known by an earlier answer.
_CLOCK_KEPT_SECONDS = 300
_HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,200}")


def rails(settings: Settings) -> tuple[Rail, ...]:
    """The one that the settings name, or none."""
    wanted = settings.lnbits
    if wanted is None:
        return ()
    network, can_send = wanted.invoices_of or settings.network, wanted.admin_key is not None
    wallet = LnbitsWallet(wanted, network=network)
    base_url = (wanted.callback_base_url or settings.public_url).rstrip("/")
    return (
        Rail(
            name="lnbits",
            wallet_id=wanted.wallet_id,
            role="lightning",
            witness=RAIL,
            asks=wallet.offer,
            is_beside=True,
            evidence=wallet,
            sends=wallet if can_send else None,
            payees=Payees(network) if can_send else None,
            told=wallet.told if can_send else None,
            most_route_bps=wanted.most_route_bps,
            max_held_sat=wanted.max_held_sat,
            balance=wallet.balance,
            health=wallet.health,
            version=wallet.version,
            tried_with=TRIED_WITH,
            # One URL for each invoice's whole life: nothing is armed anew.
            doorbell=Doorbell(url=f"{base_url}/{CALLBACKS}", seconds=0) if wanted.callbacks else None,
            most_units=wanted.most_sat,
            calls_per_minute=wanted.calls_per_minute,
            fee_bps=0,
        ),
    )


class LnbitsWallet:
    """One wallet at an LNbits: it makes invoices, tells what came, and pays with the admin key. Threads may share it."""

    def __init__(self, wanted: Lnbits, *, network: str, outbound: Outbound | None = None):
        self._url = wanted.url.rstrip("/")
        self._wallet_id, self._network = wanted.wallet_id, network
        self._invoice_key, self._admin_key = wanted.invoice_key, wanted.admin_key
        host = urlsplit(wanted.url).hostname or ""
        Guard(allow_loopback=is_loopback(host)).check_url(wanted.url)
        limits = Limits(read_seconds=wanted.timeout_seconds, deadline_seconds=wanted.timeout_seconds)
        # When it answered last, by its clock and by ours that nobody sets; threads may each replace it.
        self._clock: tuple[datetime | None, float] = (None, 0.0)
        # An operator wrote this host, so it may be private.
        self._outbound = outbound or Outbound(
            limits=limits, guard=Guard(allow_hosts=frozenset({host})), ca_file=wanted.ca_file
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url}, {self._network}, wallet {self._wallet_id[:8]}…, keys redacted)"

    def offer(self, wanted: Wanted) -> Offer:
        """An invoice for exactly what is wanted: the one that an earlier try made, whose answer was lost, or a new one.

        LNbits makes a second for the same reference, so it is asked what there is, unless nothing can be. Raises Unavailable, Refused
        or ProtocolError, also with the codes of `lightning.bolt11.judged` for an invoice that is not what was asked for.
        """
        there: Sequence[Mapping[str, Any]] = ()
        now = self._time_of_late() if wanted.is_first_try else None
        if now is None:
            reply = self._call("GET", f"?external_id={quote(wanted.reference, safe='')}&limit=20")
            there, now = _listed(reply), _server_time(reply)
        for payment in there:
            # A server that does not know the filter lists the whole wallet.
            if payment.get("external_id") == wanted.reference and payment.get("status") != _FAILED:
                try:
                    return self._offer(payment, wanted, now)
                except (Refused, ProtocolError):
                    continue  # its time is over, or it is not of this wallet: another one is made
        reply = self._made(_request(wanted, now))
        try:
            return self._offer(_object(reply), wanted, now)
        except Refused as wrong:
            raise ProtocolError(wrong.code, f"LNbits made another invoice: {wrong.detail}", field=wrong.field) from None

    def _time_of_late(self) -> datetime | None:
        """Its own clock now, by its last answer if that was a moment ago."""
        told_at, answered = self._clock
        seconds = time.monotonic() - answered
        return told_at + timedelta(seconds=seconds) if told_at is not None and seconds < _CLOCK_KEPT_SECONDS else None

    def _made(self, body: dict[str, Any]) -> Reply:
        """The answer to a new invoice; without its webhook where LNbits refuses that, as nothing needs it."""
        try:
            return self._call("POST", "", body=body)
        except Refused as refused:
            if "webhook" not in body:
                raise
            log.warning("lnbits refuses an invoice with a webhook", extra=_told(refused))
        return self._call("POST", "", body={name: body[name] for name in body if name != "webhook"})

    def _offer(self, payment: Mapping[str, Any], wanted: Wanted, now: datetime) -> Offer:
        asked = judged(
            _text(payment, "bolt11"),
            network=self._network,
            due_msat=wanted.due_units * MSAT,
            now=now,
            expires_at=wanted.expires_at,
        )
        # What is paid is the invoice, what is credited is this sum.
        self._check_own(payment, asked)
        if _msat(payment, "amount") != asked.amount_msat:
            raise ProtocolError("wrong_amount", "LNbits credits another sum than its invoice asks for.", field="amount")
        return Offer(text=asked.text, key=asked.payment_hash, expires_at=asked.expires_at)

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        """What came to an invoice of this wallet: all of it or nothing, and final. A fact that LNbits has forgotten, or gave up
        before its time, is evidence that is missing.
        """
        asked = decoded(address)
        reply = self._call("GET", f"/{asked.payment_hash}", missing=True)
        outputs: tuple[ChainOutput, ...] = ()
        gap = ""
        if reply.status == 404:
            gap = "rail_forgot"
        else:
            payment = self._details(_object(reply), asked)
            if payment["status"] == _SUCCESS:
                outputs = (_output(payment, asked),)
            elif payment["status"] == _FAILED and not _ran_out(payment, asked):
                gap = "rail_forgot"
        return ChainReading(
            address=address, outputs=outputs, tip=NOT_IN_BLOCKS, source=SOURCE, asked_at=asked_at, gap=gap
        )

    def _details(self, answer: Mapping[str, Any], asked: Bolt11) -> Mapping[str, Any]:
        """The payment of an answer, when all that it says of it agrees."""
        payment = answer.get("details")
        if not isinstance(payment, dict):
            # Whoever has no key of this wallet is told only whether it was paid.
            raise Refused(
                "provider_refused", "LNbits does not take the key for one of this wallet.", field="invoice_key"
            )
        self._check_own(payment, asked)
        status = payment.get("status")
        if status not in (_PENDING, _SUCCESS, _FAILED):
            raise ProtocolError("provider_bad_member", "LNbits answered with an unknown status.", field="status")
        if answer.get("paid") is not (status == _SUCCESS):
            raise ProtocolError("provider_disagrees", "LNbits' paid contradicts its own status.", field="paid")
        return payment

    def _check_own(self, payment: Mapping[str, Any], asked: Bolt11) -> None:
        for member, expected in (("wallet_id", self._wallet_id), ("payment_hash", asked.payment_hash)):
            if payment.get(member) != expected:
                raise ProtocolError("provider_other_answer", f"LNbits answered about another {member}.", field=member)

    def balance(self) -> WalletBalance:
        """The whole wallet, in whole satoshi that are there."""
        sat = _msat(_object(self._call("GET", "", path="wallet")), "balance", least=-MAX_MONEY_SAT) // MSAT
        return WalletBalance(balance_sat=sat, confirmed_sat=sat, unconfirmed_sat=0, immature_sat=0)

    def health(self) -> Health:
        """Whether it can be reached and takes the key, and its clock."""
        reply = self._call("GET", "", path="wallet")
        _msat(_object(reply), "balance", least=-MAX_MONEY_SAT)
        return Health(ok=True, fee_bps=0, min_send_sat=1, server_time=reply.date(), receive_bps=0)

    def version(self) -> str:
        """Of the program there, "" where it does not say."""
        try:
            reply = self._outbound.call("GET", f"{self._url}/openapi.json", max_bytes=_DESCRIPTION_BYTES)
        except CallFailed as failure:
            raise _failed(failure) from None
        told = _said(reply).get("info")
        version = told.get("version") if isinstance(told, dict) else None
        return version[:40] if isinstance(version, str) and version.isprintable() else ""

    def send(self, *, destination: str, gross_sat: int, idempotency_key: str) -> Sent:
        """Pays a BOLT11 for exactly `gross_sat`; what the route costs comes on top. The payment hash is what makes a repeat
        harmless: LNbits pays one once, so the key is that hash.

        Raises Unavailable or Refused when surely nothing was sent, OutcomeUnknown when a person has to look.
        """
        asked = asked_in(destination, sat=gross_sat, network=self._network)
        before = self._sent(asked)
        if before is not None and before.get("status") != _FAILED:
            return _outcome(before, asked, gross_sat=gross_sat)
        body = {"out": True, "bolt11": asked.text, "external_id": idempotency_key}
        try:
            self._call("POST", "", body=body, is_admin=True)
        except BridgeError as error:
            return self._after(error, asked, gross_sat=gross_sat)
        return self._after(None, asked, gross_sat=gross_sat)

    def told(self, destination: str, gross_sat: int) -> Sent | None:
        """What LNbits itself says came of a payment: None when it failed or never was. Raises OutcomeUnknown while it is on its way,
        and what a read raises.
        """
        asked = asked_in(destination, sat=gross_sat, network=self._network)
        payment = self._sent(asked)
        if payment is None or payment.get("status") == _FAILED:
            return None
        return _outcome(payment, asked, gross_sat=gross_sat)

    def _after(self, error: BridgeError | None, asked: Bolt11, *, gross_sat: int) -> Sent:
        """What LNbits itself says of the payment after the call, however that ended."""
        if isinstance(error, NotSent):
            raise Unavailable(error.code, error.detail, retry_after_seconds=error.retry_after_seconds)
        payment = afterwards(lambda: self._sent(asked))
        if payment is not None:
            return _outcome(payment, asked, gross_sat=gross_sat)
        if isinstance(error, Refused):
            raise error
        raise unknown(error.detail if error is not None else "LNbits does not know the payment that it took on")

    def _sent(self, asked: Bolt11) -> Mapping[str, Any] | None:
        """The payment that left this wallet by that hash, or None. Raises what a read raises."""
        reply = self._call("GET", f"/{asked.payment_hash}", missing=True)
        if reply.status == 404:
            return None
        payment = self._details(_object(reply), asked)
        return payment if _msat(payment, "amount", least=-MAX_MONEY_SAT) < 0 else None

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()

    def _call(
        self,
        method: str,
        rest: str,
        *,
        path: str = "payments",
        body: Mapping[str, Any] | None = None,
        missing: bool = False,
        is_admin: bool = False,
    ) -> Reply:
        """One call and its good answer; `missing` takes a 404 for one. Raises Unavailable, Refused or ProtocolError."""
        key = self._admin_key if is_admin else self._invoice_key
        text = key.get_secret_value() if key is not None else ""
        if not _HEADER_TEXT.fullmatch(text):
            # The HTTP library would quote the whole value in its own error.
            raise Refused("bad_provider_key", "The key of LNbits is empty or holds characters no key has.", field="key")
        headers = {"X-Api-Key": text, "Content-Type": "application/json"}
        content = json.dumps(body, sort_keys=True).encode() if body is not None else None
        try:
            reply = self._outbound.call(method, f"{self._url}/api/v1/{path}{rest}", headers=headers, body=content)
        except CallFailed as failure:
            raise _failed(failure) from None
        # A proxy that knows no such page says nothing of a payment.
        is_missing = missing and reply.status == 404 and "detail" in _said(reply)
        if not is_missing and (wrong := _refused(reply)) is not None:
            raise wrong
        self._clock = (reply.date(), time.monotonic())
        return reply


def _told(refused: Refused) -> dict[str, str]:
    return {"action": "lnbits_webhook_refused", "detail": refused.detail}


def _failed(failure: CallFailed) -> Unavailable | ProtocolError:
    if failure.reason == "too_large":
        return ProtocolError("provider_answer_too_large", "LNbits answered with more bytes than any answer needs.")
    return unreachable("LNbits", failure)


def _refused(reply: Reply) -> BridgeError | None:
    """The error that an answer is, None for a good one. 520 is LNbits' own: its word says whether it may pass."""
    said = f"LNbits answered HTTP {reply.status}"
    if 200 <= reply.status < 300:
        return None
    if reply.status == 429:
        wait = reply.retry_after_seconds()
        return NotSent("provider_rate_limited", "LNbits asks to slow down.", retry_after_seconds=wait)
    if reply.status < 400:
        return ProtocolError("provider_redirected", f"{said}, a redirect, which would carry the key elsewhere.")
    if reply.status == 520 and _said(reply).get("status") == _FAILED:
        return Refused("provider_refused", f"{said}: {_detail(reply)}")
    if reply.status >= 500:
        return Unavailable("provider_unavailable", f"{said}.")
    return Refused("provider_refused", f"{said}: {_detail(reply)}")


def _said(reply: Reply) -> Mapping[str, Any]:
    try:
        parsed = reply.json()
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _detail(reply: Reply) -> str:
    detail = _said(reply).get("detail")
    return detail[:200] if isinstance(detail, str) and detail.isprintable() else "it says no more."


def _json(reply: Reply) -> object:
    try:
        return reply.json()
    except ValueError:
        raise Unavailable("provider_unreadable", "LNbits' answer cannot be read.") from None


def _object(reply: Reply) -> Mapping[str, Any]:
    parsed = _json(reply)
    if not isinstance(parsed, dict):
        raise ProtocolError("provider_bad_envelope", "LNbits answered without an object.")
    return parsed


def _listed(reply: Reply) -> Sequence[Mapping[str, Any]]:
    parsed = _json(reply)
    if not isinstance(parsed, list) or not all(isinstance(each, dict) for each in parsed):
        raise ProtocolError("provider_bad_envelope", "LNbits answered without a list of payments.")
    return parsed


def _server_time(reply: Reply) -> datetime:
    """Its own clock, from which it counts an invoice's time."""
    told = reply.date()
    if told is None:
        raise ProtocolError("provider_bad_member", "LNbits answered without a Date.", field="Date")
    return told


def _request(wanted: Wanted, now: datetime) -> dict[str, Any]:
    body: dict[str, Any] = {
        "out": False,
        "unit": "sat",
        "amount": wanted.due_units,
        "memo": wanted.memo[:_MEMO_LETTERS],
    }
    body["external_id"] = wanted.reference
    if wanted.expires_at is not None:
        seconds = int((wanted.expires_at - now).total_seconds())
        if seconds < 1:
            raise Refused("bolt11_expired", "There is no time left to pay an invoice in.", field="expires_at")
        body["expiry"] = seconds
    if wanted.ring_url:
        body["webhook"] = wanted.ring_url
    return body


def _text(payment: Mapping[str, Any], member: str) -> str:
    value = payment.get(member)
    if not isinstance(value, str) or not value:
        raise ProtocolError("provider_bad_member", f"LNbits answered without a valid {member}.", field=member)
    return value


def _msat(payment: Mapping[str, Any], member: str, *, least: int = 0) -> int:
    """A sum in millisatoshi; what leaves a wallet is negative."""
    value = payment.get(member)
    if type(value) is not int or not least * MSAT <= value <= MAX_MONEY_SAT * MSAT:
        raise ProtocolError("provider_bad_amount", f"LNbits answered without a valid {member}.", field=member)
    return value


def _output(payment: Mapping[str, Any], asked: Bolt11) -> ChainOutput:
    """A paid invoice as a fact. Of a sum in millisatoshi the whole satoshi count."""
    msat = _msat(payment, "amount", least=-MAX_MONEY_SAT)
    if not 0 < msat <= _MOST_TIMES * (asked.amount_msat or MAX_MONEY_SAT * MSAT):
        raise ProtocolError("provider_bad_amount", "LNbits says that another sum came than can be.", field="amount")
    return ChainOutput(
        outpoint=f"{asked.payment_hash}:0",
        amount_sat=msat // MSAT,
        amount_msat=msat,
        confirmations=FINAL,
        replaceable=False,
        block_time=_time(payment.get("updated_at")),
    )


def _ran_out(payment: Mapping[str, Any], asked: Bolt11) -> bool:
    """Whether it failed because its time was over: it says so, or it was given up when it was, by its node's clock."""
    labels, given_up_at = payment.get("labels"), _time(payment.get("updated_at"))
    if isinstance(labels, list) and _EXPIRED in labels:
        return True
    return given_up_at is not None and given_up_at >= asked.expires_at - CLOCK_TOLERANCE


def _time(text: object) -> datetime | None:
    """When it was last written; one that says no zone means UTC. None for what is no time, or of no such year."""
    try:
        told = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if told is None or not 2009 <= told.year < 9999:
        # At the end of the calendar a zone leads out of it.
        return None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def _outcome(payment: Mapping[str, Any], asked: Bolt11, *, gross_sat: int) -> Sent:
    status = payment.get("status")
    if status == _FAILED:
        raise Refused("provider_refused", "LNbits says that the payment failed: nothing has left.")
    if status != _SUCCESS:
        raise unknown("LNbits says that the payment is still on its way")
    return paid(asked, sat=gross_sat, fee_msat=abs(_msat(payment, "fee", least=-MAX_MONEY_SAT)))
