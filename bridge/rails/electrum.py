"""The shop's own Electrum daemon, a Lightning node that needs no full node: payers pay its requests, beside the first way.

Owns the calls, what their answers mean and what a lost answer leaves open; decides nothing about money. The daemon rings nobody: young
invoices are asked for. What it calls paid is money only once it also says settled.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from bridge.config import Electrum, Settings
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
from bridge.core.money import MAX_MONEY_SAT, SAT_PER_BTC
from bridge.core.rail import RAIL, Offer, Rail, Wanted, most_route_sat
from bridge.lightning.bolt11 import MSAT, Bolt11, decoded, judged
from bridge.lightning.payee import Payees
from bridge.lightning.sending import NotSent, afterwards, asked_in, paid, unknown, unreachable
from bridge.outbound import CallFailed, Guard, Limits, Outbound, Reply, is_loopback

SOURCE = "electrum"
# Our names of the networks by Electrum's.
NETWORKS = {"mainnet": "main", "testnet": "test", "testnet4": "test", "signet": "signet", "regtest": "regtest"}
# Before it some of the calls are not there, or answer otherwise.
OLDEST = (4, 8)
# How the versions begin whose answers this was held against.
TRIED_WITH = ("4.8.",)
_UNPAID, _EXPIRED, _PAID, _INFLIGHT, _FAILED = 0, 1, 3, 4, 5
_STATES = frozenset({_UNPAID, _EXPIRED, _PAID, _INFLIGHT, _FAILED})
# The daemon's own words: it has one code for all that it refuses.
_UNKNOWN, _NOT_LOADED = "Request not found", "wallet not loaded"
_REFUSES, _FAILS = 1, 2
_GONE = frozenset({"CLOSED", "REDEEMED"})
_DAY_SECONDS = 86_400
# A description is at most 639 bytes of a payment request.
_MEMO_LETTERS = 100
# So many of one shop's open requests never meet by chance.
_MARK_LETTERS = 16
# What grows with the wallet: its open requests, its history.
_LONG_BYTES = 32 * 1024 * 1024
# Nodes may take up to twice of what was asked for (BOLT 4); what says more is no answer about this request.
_MOST_TIMES = 2


def rails(settings: Settings) -> tuple[Rail, ...]:
    """The one that the settings name, or none."""
    wanted = settings.electrum
    if wanted is None:
        return ()
    wallet = ElectrumWallet(wanted, network=settings.network)
    return (
        Rail(
            name="electrum",
            wallet_id=wanted.node_id,
            role="lightning",
            witness=RAIL,
            asks=wallet.offer,
            is_beside=True,
            evidence=wallet,
            sends=wallet if wanted.refunds else None,
            payees=Payees(settings.network) if wanted.refunds else None,
            told=wallet.told if wanted.refunds else None,
            most_route_bps=wanted.most_route_bps,
            max_held_sat=wanted.max_held_sat,
            balance=wallet.balance,
            health=wallet.health,
            version=wallet.version,
            tried_with=TRIED_WITH,
            most_units=wanted.most_sat,
            calls_per_minute=wanted.calls_per_minute,
            fee_bps=0,
        ),
    )


class ElectrumWallet:
    """One wallet of one daemon: it makes requests, tells what came, and pays. Threads may share it."""

    def __init__(self, wanted: Electrum, *, network: str, outbound: Outbound | None = None):
        self._wanted, self._network = wanted, network
        self._url = wanted.url.rstrip("/") + "/"
        host = urlsplit(wanted.url).hostname or ""
        Guard(allow_loopback=is_loopback(host)).check_url(wanted.url)
        limits = Limits(read_seconds=wanted.timeout_seconds, deadline_seconds=wanted.timeout_seconds)
        # An operator wrote this host, so it may be private.
        self._outbound = outbound or Outbound(
            limits=limits, guard=Guard(allow_hosts=frozenset({host})), ca_file=wanted.ca_file
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url}, {self._network}, node {self._wanted.node_id[:8]}…, login redacted)"

    def offer(self, wanted: Wanted) -> Offer:
        """A request for exactly what is wanted: the one that an earlier try made, whose answer was lost, or a new one.

        Electrum makes a second of the same memo, so it is asked what there is before another try. Raises Unavailable
        (`no_inbound_capacity` when no channel could carry it), Refused or ProtocolError.
        """
        # It has no other place for our reference; what the payer's wallet shows names nothing inside of us.
        mark = hashlib.sha256(wanted.reference.encode()).hexdigest()[:_MARK_LETTERS]
        memo = f"{wanted.memo[:_MEMO_LETTERS]} ({mark})".lstrip()
        # Listing takes the longer the more are open.
        there, now = ([], self._info()[1]) if wanted.is_first_try else self._call("list_requests", pending=True)
        for request in _listed(there, "list_requests"):
            if request.get("message") == memo and request.get("can_receive") is True:
                try:
                    return self._offer(request, wanted, now)
                except (Refused, ProtocolError):
                    continue  # its time is over, or a restart gave it another: a new one is made
        seconds = int((wanted.expires_at - now).total_seconds()) if wanted.expires_at is not None else _DAY_SECONDS
        if seconds < 1:
            raise Refused("bolt11_expired", "There is no time left to pay a request in.", field="expires_at")
        asked = {"amount": _btc(wanted.due_units), "memo": memo, "lightning": True, "expiry": seconds}
        made = _object(self._call("add_request", **asked)[0], "add_request")
        if made.get("can_receive") is not True:
            # Nobody has seen it: it need not stay among the open ones.
            self._call("delete_request", request_id=_text(made, "rhash"))
            raise Unavailable("no_inbound_capacity", "No channel of the Electrum wallet can receive this sum now.")
        try:
            return self._offer(made, wanted, now)
        except Refused as wrong:
            raise ProtocolError(
                wrong.code, f"Electrum made another request: {wrong.detail}", field=wrong.field
            ) from None

    def _offer(self, request: Mapping[str, Any], wanted: Wanted, now: datetime) -> Offer:
        due_msat = wanted.due_units * MSAT
        asked = judged(
            _text(request, "lightning_invoice"),
            network=self._network,
            due_msat=due_msat,
            now=now,
            expires_at=wanted.expires_at,
        )
        self._check_own(request, asked)
        # What is paid is the text, what the daemon waits for is this sum.
        if request.get("amount_msat") != due_msat:
            raise ProtocolError("wrong_amount", "Electrum waits for another sum than its request says.", field="amount")
        return Offer(text=asked.text, key=asked.payment_hash, expires_at=min(asked.expires_at, _ends(request)))

    def read(
        self, address: str, *, born_at: datetime, asked_at: datetime, known: Sequence[KnownOutput] = ()
    ) -> ChainReading:
        """What came to a request of this wallet: all of it or nothing, and final. One that the daemon does not know any more is
        evidence that is missing.

        Raises Unavailable also while it says paid and not yet settled.
        """
        asked = decoded(address)
        outputs: tuple[ChainOutput, ...] = ()
        gap = ""
        try:
            request = _object(self._call("get_request", request_id=asked.payment_hash)[0], "get_request")
        except _Unknown:
            gap = "rail_forgot"
        else:
            self._check_own(request, asked)
            if _state(request) == _PAID:
                outputs = (self._settled(request, asked),)
        return ChainReading(
            address=address, outputs=outputs, tip=NOT_IN_BLOCKS, source=SOURCE, asked_at=asked_at, gap=gap
        )

    def _settled(self, request: Mapping[str, Any], asked: Bolt11) -> ChainOutput:
        """A paid request as a fact, in whole satoshi as the daemon tells it.

        It says paid before the last part of a payment is settled, and only then does it add up what came.
        """
        waits = Unavailable("rail_not_settled", "Electrum says that this was paid, and not yet that it is settled.")
        try:
            told = _object(self._call("check_hold_invoice", payment_hash=asked.payment_hash)[0], "check_hold_invoice")
        except _Failed:
            raise waits from None
        sat = told.get("received_amount_sat")
        if type(sat) is not int or not 0 <= sat * MSAT <= _MOST_TIMES * (asked.amount_msat or 0):
            raise ProtocolError(
                "provider_bad_amount", "Electrum says that another sum came than can be.", field="amount"
            )
        if told.get("status") != "settled" or sat * MSAT < (asked.amount_msat or 0):
            raise waits
        # It takes nothing after a request's end: so that is when it was paid at the latest, however late it is read.
        return ChainOutput(
            outpoint=f"{asked.payment_hash}:0",
            amount_sat=sat,
            confirmations=FINAL,
            replaceable=False,
            block_time=_ends(request),
        )

    def _check_own(self, request: Mapping[str, Any], asked: Bolt11) -> None:
        if request.get("rhash") != asked.payment_hash:
            raise ProtocolError("provider_other_answer", "Electrum answered about another request.", field="rhash")
        if asked.payee != self._wanted.node_id:
            raise ProtocolError("provider_other_wallet", "This request is of another wallet.", field="node_id")

    def balance(self) -> WalletBalance:
        """What lies in the channels on our side, each rounded down; on-chain money of the same wallet is apart and not in it."""
        self._info()
        told = [_sat(each, "local_balance") for each in self._channels() if _text(each, "state") not in _GONE]
        # A satoshi may have come in parts over several of them; the roundings of n lose less than n.
        cut_sat = max(len(told) - 1, 0)
        return WalletBalance(
            balance_sat=sum(told), confirmed_sat=sum(told), unconfirmed_sat=0, immature_sat=0, cut_sat=cut_sat
        )

    def inbound_sat(self) -> int:
        """The most that one channel could receive now; a payment in parts may be more. The peer keeps its reserve."""
        free = [
            _sat(each, "remote_balance") - _sat(each, "remote_reserve") - _sat(each, "remote_unsettled_sent")
            for each in self._channels()
            if (each.get("state"), each.get("peer_state")) == ("OPEN", "GOOD")
        ]
        return max([0, *free])

    def health(self) -> Health:
        """Whether the daemon is connected and up to date, and what its channels can take in. Raises also for a wallet, network or
        version that are not those of the settings.
        """
        info, now = self._info()
        node = self._call("nodeid")[0]
        if not isinstance(node, str) or node.partition("@")[0] != self._wanted.node_id:
            raise ProtocolError("provider_other_wallet", "Electrum has another wallet open than electrum.node_id.")
        height, best = info.get("blockchain_height"), info.get("server_height")
        behind = max(best - height, 0) if type(height) is int and type(best) is int else None
        inbound_sat = self.inbound_sat()
        return Health(
            ok=info.get("connected") is True and behind == 0 and inbound_sat > 0,
            fee_bps=0,
            min_send_sat=1,
            server_time=now,
            inbound_sat=inbound_sat,
            receive_bps=0,
            network=self._network,
            blocks_behind=behind,
        )

    def version(self) -> str:
        """Of the program there."""
        return _text(self._info()[0], "version")[:40]

    def _info(self) -> tuple[Mapping[str, Any], datetime]:
        """The daemon's word about itself, when it is one that may be believed about money."""
        answer, now = self._call("getinfo")
        info = _object(answer, "getinfo")
        if NETWORKS.get(_text(info, "network")) != self._network:
            raise ProtocolError("wrong_network", f"Electrum is not on the network {self._network!r}.", field="network")
        version = re.match(r"(\d{1,4})\.(\d{1,4})", _text(info, "version"))
        if version is None or tuple(map(int, version.groups())) < OLDEST:
            raise ProtocolError("provider_too_old", "Electrum must be 4.8 or later.", field="version")
        return info, now

    def _channels(self) -> Sequence[Mapping[str, Any]]:
        return _listed(self._call("list_channels")[0], "list_channels")

    def send(self, *, destination: str, gross_sat: int, idempotency_key: str) -> Sent:
        """Pays a BOLT11 for exactly `gross_sat`; what the route costs comes on top. Electrum pays one payment hash once, so a repeat is
        harmless whatever its key.

        Raises Unavailable or Refused when surely nothing was sent, OutcomeUnknown when a person has to look.
        """
        asked = asked_in(destination, sat=gross_sat, network=self._network)
        before = self._sent(asked)
        if before in (_PAID, _INFLIGHT):
            return self._outcome(before, asked, gross_sat=gross_sat)
        try:
            most_msat = most_route_sat(gross_sat, most_bps=self._wanted.most_route_bps) * MSAT
            # It fails at a budget as large as half of the sum and 1,000 sat.
            most_msat = min(most_msat, max(gross_sat * MSAT // 2, 1_000 * MSAT) - 1)
            self._call("lnpay", invoice=asked.text, max_fee_msat=most_msat, **self._password())
        except BridgeError as error:
            if isinstance(error, NotSent) or (isinstance(error, _NotTaken) and before is None):
                raise
            return self._after(asked, gross_sat=gross_sat, why=error.detail)
        return self._after(asked, gross_sat=gross_sat)

    def told(self, destination: str, gross_sat: int) -> Sent | None:
        """What Electrum itself says came of a payment: None when it is not paid and not on its way. Raises OutcomeUnknown while it is,
        and what a read raises.
        """
        asked = asked_in(destination, sat=gross_sat, network=self._network)
        state = self._sent(asked)
        return self._outcome(state, asked, gross_sat=gross_sat) if state in (_PAID, _INFLIGHT) else None

    def _after(self, asked: Bolt11, *, gross_sat: int, why: str = "") -> Sent:
        """What Electrum itself says of the payment after the call, however that ended. After one that was cut off, or refused because
        of an earlier one, what was not paid yet may be paid still.
        """
        state = afterwards(lambda: self._sent(asked))
        if why and state not in (_PAID, _INFLIGHT):
            raise unknown(why)
        return self._outcome(state, asked, gross_sat=gross_sat)

    def _sent(self, asked: Bolt11) -> int | None:
        """The state of the payment that may have left this wallet by that hash; None: it never heard of it."""
        try:
            kept = _object(self._call("get_invoice", invoice_id=asked.payment_hash)[0], "get_invoice")
        except _Unknown:
            return None
        return _state(kept)

    def _outcome(self, state: int | None, asked: Bolt11, *, gross_sat: int) -> Sent:
        if state == _INFLIGHT:
            raise unknown("Electrum says that the payment is still on its way")
        if state != _PAID:
            raise Refused("provider_refused", "Electrum found no way for this payment: nothing has left.")
        return paid(asked, sat=gross_sat, fee_msat=self._fee_msat(asked))

    def _fee_msat(self, asked: Bolt11) -> int:
        """What its route cost. The history has it as soon as the payment is settled at our own channel."""
        try:
            history = _listed(self._call("lightning_history")[0], "lightning_history")
        except BridgeError as silent:
            raise unknown(f"it was paid, and its fee could not be read: {silent.detail}") from None
        for each in history:
            if each.get("payment_hash") == asked.payment_hash and _is_preimage(each.get("preimage"), asked):
                fee = each.get("fee_msat")
                if type(fee) is int and fee >= 0:
                    return fee
        raise unknown("Electrum says that it was paid, and its history does not have it yet")

    def close(self) -> None:
        """Drop the pooled connections."""
        self._outbound.close()

    def _call(self, method: str, **named: Any) -> tuple[object, datetime]:
        """The result and the daemon's clock. A daemon that was restarted has forgotten the wallet: it is opened, and asked again.

        Raises Unavailable, Refused or ProtocolError.
        """
        wallet = {"wallet_path": self._wanted.wallet} if self._wanted.wallet is not None else {}
        asked = named if method == "getinfo" else named | wallet
        try:
            return self._ask(method, asked)
        except _NotLoaded:
            self._ask("load_wallet", wallet | self._password())
        return self._ask(method, asked)

    def _password(self) -> dict[str, str]:
        secret = self._wanted.wallet_password
        return {"password": secret.get_secret_value()} if secret is not None else {}

    def _ask(self, method: str, named: Mapping[str, Any]) -> tuple[object, datetime]:
        login = f"{self._wanted.user}:{self._wanted.password.get_secret_value()}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(login).decode()}",
            "Content-Type": "application/json",
        }
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": named}, sort_keys=True).encode()
        try:
            reply = self._outbound.call("POST", self._url, headers=headers, body=body, max_bytes=_LONG_BYTES)
        except CallFailed as failure:
            raise unreachable("Electrum", failure) from None
        return _result(reply, method)


class _Failed(Unavailable):
    """The daemon says that it failed by itself. Its words hold its memory, so nothing of them is kept."""


class _NotTaken(Refused):
    """The daemon refuses, in its own words, before it has done anything."""


class _Unknown(_NotTaken):
    """The daemon knows no such request."""


class _NotLoaded(_NotTaken):
    """The daemon has not opened the wallet."""


def _result(reply: Reply, method: str) -> tuple[object, datetime]:
    """The good answer of a call, with the clock of who gave it; else the error that it is."""
    if reply.status in (401, 403):
        raise Refused(
            "provider_login_wrong",
            f"Electrum refuses the login (HTTP {reply.status}): electrum.user and electrum.password must be its rpcuser and rpcpassword.",
        )
    if reply.status != 200:
        raise ProtocolError("provider_refused", f"Electrum does not take {method} (HTTP {reply.status}).")
    try:
        answer = reply.json()
    except ValueError:
        raise Unavailable("provider_unreadable", f"Electrum's answer to {method} cannot be read.") from None
    now = reply.date()
    if not isinstance(answer, dict) or now is None:
        raise ProtocolError("provider_bad_envelope", f"This is no Electrum that answered {method}.")
    if answer.get("error") is not None:
        raise _refused(answer["error"], method)
    if "result" not in answer:
        raise ProtocolError("provider_bad_envelope", f"Electrum answered {method} without a result.")
    return answer["result"], now


def _refused(error: object, method: str) -> BridgeError:
    told = error if isinstance(error, dict) else {}
    words = told.get("message")
    if told.get("code") != _REFUSES or not isinstance(words, str):
        return _Failed("provider_unavailable", f"Electrum failed at {method}.")
    kind = {_UNKNOWN: _Unknown, _NOT_LOADED: _NotLoaded}.get(words, _NotTaken)
    said = words[:200] if words.isprintable() else "it says no more"
    return kind("provider_refused", f"Electrum refuses {method}: {said}")


def _btc(sat: int) -> str:
    """Whole satoshi as the decimal text that Electrum takes."""
    return f"{sat // SAT_PER_BTC}.{sat % SAT_PER_BTC:08d}"


def _object(answer: object, method: str) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise ProtocolError("provider_bad_envelope", f"Electrum's answer to {method} is no object.")
    return answer


def _listed(answer: object, method: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
        raise ProtocolError("provider_bad_envelope", f"Electrum's answer to {method} is no list.")
    return answer


def _text(answer: Mapping[str, Any], member: str) -> str:
    value = answer.get(member)
    if not isinstance(value, str) or not value:
        raise ProtocolError("provider_bad_member", f"Electrum answered without a valid {member}.", field=member)
    return value


def _sat(answer: Mapping[str, Any], member: str) -> int:
    value = answer.get(member)
    if type(value) is not int or not 0 <= value <= MAX_MONEY_SAT:
        raise ProtocolError("provider_bad_amount", f"Electrum answered without a valid {member}.", field=member)
    return value


def _state(answer: Mapping[str, Any]) -> int:
    value = answer.get("status")
    if type(value) is not int or value not in _STATES:
        raise ProtocolError("provider_bad_member", "Electrum answered with an unknown status.", field="status")
    return value


def _ends(request: Mapping[str, Any]) -> datetime:
    """Until when the daemon takes a payment of it."""
    made, seconds = request.get("timestamp"), request.get("expiry")
    if type(made) is not int or type(seconds) is not int or not 0 < made < 2**33 or not 0 < seconds < 2**31:
        raise ProtocolError("provider_bad_member", "Electrum answered without a valid expiry.", field="expiry")
    return datetime.fromtimestamp(made, UTC) + timedelta(seconds=seconds)


def _is_preimage(text: object, asked: Bolt11) -> bool:
    """Whether this is what only who was paid can have told."""
    try:
        return isinstance(text, str) and hashlib.sha256(bytes.fromhex(text)).hexdigest() == asked.payment_hash
    except ValueError:
        return False
