"""The targets: one function of bytes per parser, and the only errors each may raise.

Owns what counts as a finding: any other exception, and any answer that promises more than it read. Bytes that a
stranger sends must never become anybody's traceback.
"""

import io
import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from btclib import bech32

from bridge.billmanager import verify
from bridge.chain.esplora import EsploraReader
from bridge.config import Electrum, Lnbits
from bridge.core.addresses import check_payable
from bridge.core.coverage import GAPS
from bridge.core.descriptors import checksum_of, parse_descriptor
from bridge.core.errors import BridgeError, Refused
from bridge.core.evidence import FATES, KnownOutput
from bridge.core.messages import check_signed
from bridge.core.money import to_minor
from bridge.core.rail import Wanted
from bridge.lightning.bolt11 import decoded
from bridge.lightning.payee import resolved
from bridge.outbound import Outbound, Reply
from bridge.rails.electrum import ElectrumWallet
from bridge.rails.lnbits import LnbitsWallet
from bridge.rails.subtc.client import SubtcWallet
from bridge.rails.subtc.wire import CallbackSignature
from bridge.rates.reading import Reading
from bridge.rates.sources import HttpPriceSource
from tests.core.descriptor_table import ACCEPTED, A
from tests.web.conftest import API_KEY, Site

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
PLUGIN = Path(__file__).parents[2] / "plugin_stub" / "lib" / "python"
SECRET = "whsec_" + "A" * 32
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
WALLET = "wt_" + "b" * 44
# Addresses of every kind, and signatures of each form, made for other texts.
SIGNERS = {
    b"1": "mp5cELDJZ2pUNYrF1i5dCyT34j48UzaKRU",
    b"2": "2N34MozbZgun3wHRya6RbMcia91trTTC9xY",
    b"3": "tb1pr896td3mmjl5vc57mutumgfmeet8hyzy9w6zr6hg5vhrtppevlpskes7f5",
    b"4": "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
}
_VECTORS = json.loads((Path(__file__).parents[1] / "core" / "bip322.json").read_text(encoding="utf-8"))
MESSAGES = (
    b"1\nHzBfaLn1hKEe5aQHn8LzDHJDlZZPYmFGAPPgZk6NDhMkAcv4jHmrXlNWPRQd1FEFCIMu1IFcFQDpdZZP7HSKDPE=",
    *(f"{n % 5}\n{each['signature']}".encode() for n, each in enumerate(_VECTORS["simple"] + _VECTORS["time_locked"])),
)


class Canned(Outbound):
    """Every call is answered with the same bytes, with a status of 200 or 500 by their first bit."""

    def __init__(self, body: bytes):
        super().__init__()
        self._body = body

    def call(self, method: str, url: str, **_: Any) -> Reply:
        status = 500 if self._body[:1] > b"\x7f" else 200
        headers = {"date": self._body[:40].decode("latin-1")}
        return Reply(status=status, headers=headers, body=self._body, seconds=0.0)


class Dated(Canned):
    """The same from a server whose clock is right."""

    def call(self, method: str, url: str, **_: Any) -> Reply:
        return replace(super().call(method, url), headers={"date": format_datetime(NOW, usegmt=True)})


@dataclass(frozen=True, kw_only=True)
class Target:
    """`run` may raise only `expected`. `seeds` are where mutation begins."""

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    expected: tuple[type[BaseException], ...] = ()
    words: tuple[bytes, ...] = field(default=())


def targets(site: Site) -> dict[str, Target]:
    """All of them; the HTTP ones call `site`, which must hold one open invoice."""
    return _web(site) | _answers() | _lightning() | _electrum() | _signatures() | _texts() | _module()


def _web(site: Site) -> dict[str, Target]:
    invoice = site.open("fuzz")
    token = site.bridge.callback_token(invoice["id"])
    pay = invoice["payment_url"].removeprefix(site.bridge.public_url)
    order = json.dumps(site.order("1", customer={"id": "1", "email": "a@b.example", "tier": "trusted"})).encode()
    change = b'{"change":"amount","billing_status":9,"amount":"12.00","currency":"RUB"}'

    def api(path: str, method: str = "POST") -> Callable[[bytes], object]:
        return lambda body: _answered(site.api(method, path, body, key="fuzz"))

    def query(path: str) -> Callable[[bytes], object]:
        return lambda raw: _answered(site.api("GET", f"{path}?{_line(raw)}"))

    def header(name: str, path: str, method: str) -> Callable[[bytes], object]:
        return lambda raw: _answered(site.call(method, path, headers={name: _line(raw)}, data=order))

    def any_route(raw: bytes) -> None:
        """The first byte chooses one of all routes, whatever was added since; the rest is its body, JSON or a form."""
        rule, method = routes[(raw[0] if raw else 0) % len(routes)]
        path = re.sub(r"<[^>]*public_id>", invoice["payment_url"].rpartition("/")[2], rule)
        path = re.sub(r"<[^>]*>", invoice["id"], path)
        kind = "application/json" if raw[1:2] in b"{[" else "application/x-www-form-urlencoded"
        headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": "fuzz", "Content-Type": kind}
        _answered(site.call(method, path, headers=headers, data=raw[1:]))

    found = {(r.rule, m) for r in site.app.url_map.iter_rules() for m in r.methods - {"HEAD", "OPTIONS"}}
    routes = sorted(found - {("/v1/invoices", "POST")})
    form = b"address=tb1q&user=anna&password=x&code=123456&reason=a&decision=credit&csrf=1"
    refund = (
        b'{"variant":"all","amount_sat":1000,"address":"tb1q","reason":"asked","actor":"anna","payments":[{"id":"1"}]}'
    )
    ring = f"/callbacks/subtc/{token}"
    return {
        "callback_body": Target(
            run=lambda body: _answered(site.call("POST", ring, data=body)),
            seeds=(b'{"ok":true,"event":"deposit","address":"tb1q","received_sat":1000}', b"", b"\xff\x00"),
        ),
        "callback_token": Target(
            run=lambda raw: _answered(site.call("POST", f"/callbacks/subtc/{_line(raw)}", data=b"{}")),
            seeds=(token.encode(), b"%2e%2e/%00", "ключ".encode()),
        ),
        "callback_header": Target(run=header("X-Signature", ring, "POST"), seeds=(b"ab" * 32, b"sha256=")),
        "api_order": Target(run=api("/v1/invoices"), seeds=(order, b"[]", b'{"amount":1e999}')),
        "api_change": Target(run=api(f"/v1/invoices/{invoice['id']}/billing-changes"), seeds=(change,)),
        "api_check": Target(run=api("/v1/check"), seeds=(b'{"currency":"RUB","nonce":"n0nce"}',)),
        "api_query": Target(run=query("/v1/invoices"), seeds=(b"billing_payment_id=1&status=new&limit=5&cursor=eyJh",)),
        "feed_query": Target(
            run=query("/v1/events"), seeds=(b"after=0&limit=100", b"after=-1&limit=99999999999999999999")
        ),
        "api_key": Target(
            run=header("Authorization", "/v1/events", "GET"), seeds=(f"Bearer {API_KEY}".encode(), b"Basic YTpi")
        ),
        "idempotency_key": Target(run=header("Idempotency-Key", "/v1/invoices", "POST"), seeds=(b"bm-1-2",)),
        "language": Target(run=header("Accept-Language", pay, "GET"), seeds=(b"ru-RU,ru;q=0.9,en;q=0.8", b"*;q=nan")),
        "any_route": Target(
            run=any_route, seeds=(*(bytes([n]) + form for n in range(40)), *(bytes([n]) + refund for n in range(40)))
        ),
        "pay_page": Target(
            run=lambda raw: _answered(site.call("GET", f"/pay/{_line(raw)}")),
            seeds=(pay.removeprefix("/pay/").encode(), b"abc/status?lang=ru", b"a/quote"),
        ),
    }


def _answered(response: Any) -> None:
    """No stranger gets a 500, nor the 503 that stands for a defect of ours."""
    assert response.status_code < 500 or ('"internal"' not in response.text and response.status_code == 503), (
        response.text
    )


def _line(raw: bytes) -> str:
    """Bytes as far as a server would let them into a request line or a header."""
    return raw.decode("latin-1").replace("\r", "").replace("\n", "")[:2_000]


def _answers() -> dict[str, Target]:
    """What gateways, explorers and price sources answer."""
    envelope = b'{"ok":true,"request_id":"r","result":%s}'
    sent = b'{"txid":"%s","requested_sat":50000,"sent_sat":48500,"service_fee_sat":1500}' % (b"a" * 64)
    status = b'{"confirmed":true,"block_height":100,"block_hash":"%s","block_time":1700000000}' % (b"b" * 64)
    vin = b'{"txid":"%s","vout":0,"sequence":4294967293,"prevout":{"scriptpubkey_address":"x","value":5}}' % (b"c" * 64)
    vout = b'{"scriptpubkey_address":"%s","value":15924}' % ADDRESS.encode()
    block = b'{"id":"%s","height":120,"timestamp":1700000000}' % (b"b" * 64)
    spent = b'{"spent":true,"txid":"%s","vin":0,"status":{"confirmed":true}}' % (b"f" * 64)
    page = b'[{"txid":"%s","vin":[%s],"vout":[%s],"status":%s}]' % (b"a" * 64, vin, vout, status)

    def wallet(body: bytes) -> SubtcWallet:
        return SubtcWallet(
            base_url="http://127.0.0.1:1", key="k", network="test", wallet_id=WALLET, outbound=Canned(body)
        )

    def reader(body: bytes) -> EsploraReader:
        return EsploraReader(base_urls=["http://127.0.0.1:1"], outbound=Canned(body))

    def source(body: bytes, reading: Reading) -> HttpPriceSource:
        return HttpPriceSource(name="a", url_template="http://127.0.0.1:1/", outbound=Canned(body), reading=reading)

    market = Reading(pointer="/data/{currency}/last", time_pointer="/time")
    bank = Reading(
        pointer="/ValCurs/Valute[CharCode='{currency}']/Value",
        units_pointer="/ValCurs/Valute[CharCode='{currency}']/Nominal",
        time_pointer="/ValCurs/@Date",
        format="xml",
        decimal_comma=True,
        time_zone=UTC,
    )
    daily = (
        b'<?xml version="1.0" encoding="windows-1251"?><ValCurs Date="28.11.2026"><Valute><CharCode>USD</CharCode>'
        b"<Nominal>100</Nominal><Name>\xc4\xee\xeb\xeb\xe0\xf0</Name><Value>78,2267</Value></Valute></ValCurs>"
    )
    exchange = b'\xef\xbb\xbf{"data":{"USD":{"last":"6.5E4"}},"time":%s}'
    poll = envelope % b'{"address":"%s","received_sat":5,"reached":true,"expected_sat":5}' % ADDRESS.encode()
    balance = envelope % b'{"balance_sat":3,"confirmed_sat":2,"unconfirmed_sat":1,"immature_sat":0}'
    ask = {"address": ADDRESS, "asked_at": NOW}
    allowed = (BridgeError,)
    return {
        "subtc_poll": Target(run=lambda b: wallet(b).poll(expected_sat=5, **ask), seeds=(poll,), expected=allowed),
        "subtc_inbox": Target(
            run=lambda b: wallet(b).create_inbox(expected_sat=5),
            seeds=(envelope % b'{"address":"%s","net":"test","coin":"btc"}' % ADDRESS.encode(),),
            expected=allowed,
        ),
        "subtc_balance": Target(run=lambda b: wallet(b).balance(), seeds=(balance,), expected=allowed),
        "subtc_health": Target(
            run=lambda b: wallet(b).health(),
            seeds=(b'{"ok":true,"configured":true,"fee_bps":300}', envelope % b'{"testnet_synced":true}'),
            expected=allowed,
        ),
        "subtc_sent": Target(
            run=lambda b: wallet(b).send(destination=ADDRESS, gross_sat=50_000, idempotency_key="k"),
            seeds=(envelope % sent, b'{"ok":false,"error":"SEND_FAILED","hint":"rpc error"}'),
            expected=allowed,
        ),
        "esplora": Target(
            run=lambda b: reader(b).read(ADDRESS, born_at=NOW, asked_at=NOW),
            seeds=(page, b"b" * 64, b"[]"),
            expected=allowed,
        ),
        # One answer serves all paths there, which stops at the first; so each path is also read alone.
        "esplora_block": Target(run=lambda b: _explored("/block/", b), seeds=(block,), expected=allowed),
        "esplora_page": Target(run=lambda b: _explored("/address/", b), seeds=(page,), expected=allowed),
        "esplora_tx": Target(run=lambda b: _explored("/tx/", b), seeds=(page[1:-1], spent), expected=allowed),
        "price": Target(
            run=lambda b: source(b, market).price("USD", NOW),
            seeds=(
                b'{"data":{"USD":{"last":"65000.00"}},"time":1700000000}',
                exchange % b"1773489600123",
                exchange % b'"2026-03-14T12:00:00Z"',
                exchange % b'"Sat, 14 Mar 2026 12:00:00 GMT"',
            ),
            expected=allowed,
        ),
        "price_xml": Target(run=lambda b: source(b, bank).price("USD", NOW), seeds=(daily,), expected=allowed),
    }


def _lightning() -> dict[str, Target]:
    """Payment requests, what an LNbits answers, and the server of an address that a payer names."""
    known = json.loads((Path(__file__).parents[1] / "lightning" / "bolt11.json").read_text(encoding="utf-8"))
    text = known["valid"][1]["text"]
    details = {"payment_hash": known["payment_hash"], "wallet_id": "a" * 32, "status": "success", "amount": 250_000_000}
    details |= {"bolt11": text, "fee": 0, "labels": [], "external_id": "r", "updated_at": "2026-03-14T12:00:00+00:00"}
    paid, listed = json.dumps({"paid": True, "details": details}).encode(), json.dumps([details]).encode()

    def wallet(body: bytes) -> LnbitsWallet:
        account = {"url": "http://127.0.0.1:1", "wallet_id": "a" * 32, "invoice_key": "k", "admin_key": "a"}
        return LnbitsWallet(Lnbits.model_validate(account), network="main", outbound=Canned(body))

    def inside(raw: bytes) -> None:
        """Words behind a checksum that is right, so that what is in them is read."""
        head = ("lnbc", "lnbc2500u", "lntb20m", "lnbcrt10p")[(raw[0] if raw else 0) % 4]
        decoded(bech32.encode(head, [byte & 31 for byte in raw] or [0], bech32.BECH32_1_CONST).decode())

    def read(raw: bytes) -> None:
        reading = wallet(raw).read(text, born_at=NOW, asked_at=NOW)
        assert all(0 < output.amount_sat <= 500_000 for output in reading.outputs)
        assert reading.gap in GAPS | {""}

    asked = Wanted(due_units=250_000, reference="r")
    allowed = (BridgeError,)
    where = {"sat": 250_000, "network": "main", "now": NOW}
    pays = b'{"tag":"payRequest","callback":"https://a.example/","minSendable":1,"maxSendable":1000000000,"pr":"%s"}'
    return {
        "bolt11": Target(
            run=lambda b: decoded(b.decode("utf-8", "replace")),
            seeds=tuple(each["text"].encode() for each in known["valid"] + known["invalid"]),
            expected=(Refused,),
        ),
        "bolt11_inside": Target(
            run=inside,
            seeds=tuple(bytes([0, *bech32.decode(each["text"], 1)[1]]) for each in known["valid"]),
            expected=(Refused,),
        ),
        "lnbits_read": Target(run=read, seeds=(paid, b'{"paid":false}'), expected=allowed),
        "lnbits_offer": Target(run=lambda b: wallet(b).offer(asked), seeds=(listed, b"[]"), expected=allowed),
        "lnbits_balance": Target(
            run=lambda b: wallet(b).balance(), seeds=(b'{"name":"shop","balance":1500000}',), expected=allowed
        ),
        "lnbits_sent": Target(
            run=lambda b: wallet(b).send(destination=text, gross_sat=250_000, idempotency_key="k"),
            seeds=(paid.replace(b"250000000", b"-250000000"), b'{"detail":"no","status":"failed"}'),
            expected=allowed,
        ),
        "lightning_address": Target(
            run=lambda b: resolved("a@b.example", outbound=Canned(b), **where),
            seeds=(pays % text.encode(), b'{"status":"ERROR","reason":"no"}'),
            expected=allowed,
        ),
    }


def _electrum() -> dict[str, Target]:
    """What an Electrum daemon answers; every call of one question gets the same."""
    known = json.loads((Path(__file__).parents[1] / "lightning" / "bolt11.json").read_text(encoding="utf-8"))
    text, payment_hash = known["valid"][1]["text"], known["payment_hash"]
    request = {"rhash": payment_hash, "lightning_invoice": text, "amount_msat": 250_000_000, "message": "(r)"}
    request |= {"timestamp": 1_496_314_658, "expiry": 60, "can_receive": True, "status": 3, "fee_msat": 0}
    channel = {"state": "OPEN", "peer_state": "GOOD", "local_balance": 1, "remote_balance": 2, "remote_reserve": 1}
    info = {"network": "mainnet", "version": "4.8.3", "connected": True, "blockchain_height": 1, "server_height": 1}

    def answer(result: object) -> bytes:
        return json.dumps({"id": 1, "jsonrpc": "2.0", "result": result}).encode()

    refused = (
        b'{"id":1,"error":{"code":1,"message":"Request not found"}}',
        b'{"error":{"code":2,"message":"x","data":{}}}',
    )

    def wallet(body: bytes) -> ElectrumWallet:
        account = {"url": "http://127.0.0.1:1", "user": "u", "password": "p", "node_id": decoded(text).payee}
        return ElectrumWallet(Electrum.model_validate(account), network="main", outbound=Dated(body))

    def read(raw: bytes) -> None:
        reading = wallet(raw).read(text, born_at=NOW, asked_at=NOW)
        assert all(250_000 <= output.amount_sat <= 500_000 for output in reading.outputs)
        assert reading.gap in GAPS | {""}

    allowed, asked = (BridgeError,), Wanted(due_units=250_000, reference="r")
    seeds = (answer(request), answer([request]), *refused)
    return {
        "electrum_read": Target(run=read, seeds=seeds, expected=allowed),
        "electrum_offer": Target(run=lambda b: wallet(b).offer(asked), seeds=seeds, expected=allowed),
        "electrum_balance": Target(
            run=lambda b: wallet(b).balance(), seeds=(answer(info), answer([channel])), expected=allowed
        ),
        "electrum_sent": Target(
            run=lambda b: wallet(b).send(destination=text, gross_sat=250_000, idempotency_key="k"),
            seeds=seeds,
            expected=allowed,
        ),
    }


class Explored(Canned):
    """A good explorer of an address that was forgotten, but for the paths with `part` in them."""

    def __init__(self, part: str, body: bytes):
        super().__init__(body)
        self._part = part

    def call(self, method: str, url: str, **options: Any) -> Reply:
        if self._part in url:
            return super().call(method, url, **options)
        name = url.rpartition("/")[2]
        good = {"/blocks/tip/hash": "b" * 64, "/block/": f'{{"id":"{name}","height":120,"timestamp":1700000000}}'}
        body = next((text for part, text in good.items() if part in url), "[]")
        return Reply(status=404 if "/tx/" in url else 200, headers={}, body=body.encode(), seconds=0.0)


def _explored(part: str, body: bytes) -> None:
    known = [
        KnownOutput(outpoint="a" * 64 + ":0", spends="c" * 64 + ":0"),
        KnownOutput(outpoint="d" * 64 + ":1", block_height=100, block_hash="e" * 64),
    ]
    reader = EsploraReader(base_urls=["http://127.0.0.1:1"], outbound=Explored(part, body))
    reading = reader.read(ADDRESS, born_at=NOW, asked_at=NOW, known=known)
    assert all(type(o.amount_sat) is int and o.amount_sat > 0 and o.confirmations >= 0 for o in reading.outputs)
    assert len({o.outpoint for o in reading.outputs}) == len(reading.outputs)
    assert set(reading.fates) <= {each.outpoint for each in known} - {o.outpoint for o in reading.outputs}
    assert {fate.code for fate in reading.fates.values()} <= FATES
    assert reading.gap in GAPS | {""}


def _signatures() -> dict[str, Target]:
    def webhook(raw: bytes) -> None:
        parts = (raw.decode("latin-1").split("\n", 3) + [""] * 4)[:4]
        headers = dict(zip(("webhook-id", "webhook-timestamp", "webhook-signature"), parts, strict=False))
        verify(headers=headers, body=parts[3].encode("latin-1"), secrets=[SECRET], now=NOW)
        raise AssertionError("a signature nobody made was taken")

    check = CallbackSignature(header="X-Signature", secrets=[b"secret"])

    def callback(raw: bytes) -> None:
        given, _, body = raw.partition(b"\n")
        if check.is_valid({"x-signature": given.decode("latin-1")}, body):
            raise AssertionError("a signature nobody made was taken")

    def message(raw: bytes) -> None:
        kind, _, text = raw.partition(b"\n")
        at = check_payable(SIGNERS.get(kind[:1], ADDRESS), network="test")
        check_signed("a text that nobody signed", address=at, signature=text.decode("utf-8", "replace"))
        raise AssertionError("a signature nobody made was taken")

    return {
        "signed_message": Target(run=message, seeds=MESSAGES, expected=(Refused,)),
        "webhook_signature": Target(
            run=webhook, seeds=(b"evt_1\n1773489600\nv1,AAAA v1,BBBB\n{}",), expected=(Refused,)
        ),
        "callback_signature": Target(run=callback, seeds=(b"ab" * 32 + b"\n{}",)),
    }


def _texts() -> dict[str, Target]:
    def address(raw: bytes) -> None:
        assert check_payable(raw.decode("utf-8", "replace"), network="test").text

    def money(raw: bytes) -> None:
        text, _, currency = raw.decode("utf-8", "replace").partition(" ")
        assert to_minor(text, currency if currency in {"USD", "JPY", "KWD"} else "USD") > 0

    def descriptor(raw: bytes) -> None:
        assert parse_descriptor(raw.decode("utf-8", "replace"), network="test").address(0)

    seeds = (
        ADDRESS.encode(),
        b"mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
        b"bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
    )
    return {
        "address": Target(run=address, seeds=seeds, expected=(Refused,)),
        "descriptor": Target(
            run=descriptor,
            seeds=(*((f"{body}#{checksum_of(body)}").encode() for body in ACCEPTED[:16]), A.encode()),
            expected=(Refused,),
        ),
        "money": Target(run=money, seeds=(b"10.00 USD", b"1000 JPY", b"1.005 KWD", b"1e5 USD"), expected=(Refused,)),
    }


def _module() -> dict[str, Target]:
    """The module inside BILLmanager: its CGI wire, its signatures, the bridge's events, the panel's XML."""
    sys.path.insert(0, str(PLUGIN))
    try:
        from subtc import bridge, invoice, mgrctl, payment, signature, webio
    finally:
        sys.path.remove(str(PLUGIN))

    def cgi(raw: bytes) -> None:
        query, _, rest = raw.partition(b"\n")
        cookie, _, body = rest.partition(b"\n")
        variables = {"REQUEST_METHOD": "POST", "QUERY_STRING": _environment(query), "HTTP_COOKIE": _environment(cookie)}
        with _as_cgi(variables | {"CONTENT_LENGTH": str(len(body))}, body):
            request = webio.read_request()
            assert len(request.session()) <= 128
            assert request.language() in {"en", "ru"}

    def webhook(raw: bytes) -> None:
        parts = (raw.decode("latin-1").split("\n", 3) + [""] * 4)[:4]
        headers = dict(zip(("webhook-id", "webhook-timestamp", "webhook-signature"), parts, strict=False))
        now = int(NOW.timestamp())
        signature.verify(secrets=[b"secret"], headers=headers, body=parts[3].encode("latin-1"), now=now)
        raise AssertionError("a signature nobody made was taken")

    def event(raw: bytes) -> None:
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            return
        invoice.read_event(found)

    def panel(raw: bytes) -> None:
        payment.read(mgrctl.parse(raw))

    told = {"id": "inv_1", "billing_payment_id": "77", "status": "settled", "amount": "10.00", "currency": "USD"}
    told |= {"received_sat": 15_924, "sequence": 2, "exception": "none", "hold": None, "payment_url": "https://p/x"}
    wrapped = json.dumps({"id": "evt_1", "type": "invoice.settled", "invoice": told}).encode()
    golden = Path(__file__).parents[1] / "sandbox_billmanager" / "golden_payment_info.xml"
    bomb = b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;&b;">]><doc><payment><id>&d;</id></payment></doc>'
    return {
        "module_cgi": Target(
            run=cgi,
            seeds=(b"elid=77&auth=abc\nbillmgrses5=abc%3A1; x=y\nfunc=pay&elid=77",),
            expected=(webio.BadRequest,),
        ),
        "module_signature": Target(
            run=webhook, seeds=(b"evt_1\n1773489600\nv1,AAAA\n{}",), expected=(signature.BadSignature,)
        ),
        "module_answer": Target(
            run=lambda raw: bridge._judge(503, {"retry-after": _line(raw)}, raw),
            seeds=(b"60", b"\xb2", b"9" * 5_000, b"1e99999999999999999999"),
            expected=(bridge.BridgeDown,),
        ),
        "module_event": Target(run=event, seeds=(wrapped,), expected=(invoice.Malformed,)),
        "module_xml": Target(
            run=panel,
            seeds=(golden.read_bytes(), bomb),
            expected=(mgrctl.MgrctlDown, mgrctl.Refused, payment.Foreign, ET.ParseError),
        ),
    }


def _environment(raw: bytes) -> str:
    return raw.replace(b"\x00", b"").decode("utf-8", "surrogateescape")


@contextmanager
def _as_cgi(variables: dict[str, str], body: bytes) -> Any:
    before = {name: os.environ.get(name) for name in variables}
    stdin = sys.stdin
    os.environ.update(variables)
    sys.stdin = io.TextIOWrapper(io.BytesIO(body))
    try:
        yield
    finally:
        sys.stdin = stdin
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
