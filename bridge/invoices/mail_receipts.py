"""The receipt by mail, to a payer whose address the billing system named, where the shop sets a mail server.

Owns the letter and its tries; the row was written with the settlement. A try that nobody knows the end of is made again, under the
same Message-ID: a second copy is better than none.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from traceback import extract_tb
from typing import Any

from bridge.context import Bridge, Mailer
from bridge.core.errors import BridgeError, Refused
from bridge.core.money import btc_text
from bridge.core.plain import one_line
from bridge.core.schedule import next_try_at
from bridge.invoices.pay import PayView, pay_view
from bridge.invoices.statement import statement_json
from bridge.language import Texts, languages
from bridge.logs import log
from bridge.permit import may_tell
from bridge.store import receipt_mails

AT_ONCE = 20
# A try may still be under way for so long: nobody makes the next one before.
AT_LEAST = timedelta(minutes=2)


def mail_receipts(bridge: Bridge) -> int:
    """Sends what is due; none in read_only and queued mode. Returns how many were tried."""
    if bridge.mailer is None:
        return 0
    with bridge.store.read() as tx:
        if not may_tell(tx):
            return 0
        rows = receipt_mails.due(tx, now=bridge.clock(), limit=AT_ONCE)
    return sum(_try(bridge, bridge.mailer, row) for row in rows)


def _try(bridge: Bridge, mailer: Mailer, row: Any) -> int:
    """The next try by the schedule of every delivery. Whatever becomes of it, its row says so and those behind it have their turn."""
    now = bridge.clock()
    again_at = next_try_at(attempts=row.attempts + 1, now=now, jitter_bps=0)
    with bridge.store.write() as tx:
        if not receipt_mails.claim(tx, row, now=now, next_try_at=max(again_at or now, now + AT_LEAST)):
            return 0
    error, is_over = "", again_at is None
    defect: dict[str, Any] = {}
    try:
        if next_try_at(attempts=row.attempts, now=now, jitter_bps=0) is None:
            raise Refused("tries_over", "Nobody knows how the last try ended.")
        _send(bridge, mailer, row, at=now)
    except BridgeError as trouble:
        error, is_over = trouble.code, is_over or isinstance(trouble, Refused)
    except Exception as failed:
        # Its words may be the payer's: what failed and where must do.
        place = extract_tb(failed.__traceback__)[-1]
        error, defect = "internal", {"defect": f"{type(failed).__name__} in {place.name}, line {place.lineno}"}
    state = "sent" if not error else "failed" if is_over else "waiting"
    with bridge.store.write() as tx:
        receipt_mails.end(tx, row, state=state, error=error, now=bridge.clock())
    level = logging.ERROR if defect else logging.WARNING if error else logging.INFO
    facts = {"invoice_id": row.invoice_id, "attempts": row.attempts + 1, "error": error} | defect
    log(f"receipt_mail.{state}", level=level, **facts)
    return 1


def _send(bridge: Bridge, mailer: Mailer, row: Any, *, at: datetime) -> None:
    view = pay_view(bridge, row.public_id)
    if view.status != "settled":
        raise Refused("not_settled", "The settlement was taken back.")
    texts = languages().choose([view.locale]).plain
    mailer.send(
        to=row.customer_email,
        subject=f"{texts('receipt.title')}: {view.billing_payment_id}",
        text="\n".join(letter(bridge, view, texts)) + "\n",
        reference=f"receipt.{row.invoice_id}",
        at=at,
    )


def letter(bridge: Bridge, view: PayView, texts: Texts) -> Iterator[str]:
    """The receipt's lines, as the page has them."""
    sums, currency = statement_json(view.statement, view.invoice["currency"]), view.invoice["currency"]
    about = {
        "receipt.seller": bridge.shop_name,
        "labels.document": view.billing_payment_id,
        "labels.description": one_line(view.description),
        "receipt.number": view.invoice["id"],
        "receipt.worth": texts.money(view.invoice["amount"], currency),
        "receipt.paid_at": texts.when(view.settled_at) if view.settled_at else "",
    }
    yield from (f"{texts(path)}: {text}" for path, text in about.items() if text)
    for price in sums["prices"]:
        which = f": {texts('sums.price', n=price['version'])}" if len(sums["prices"]) > 1 else ""
        base = texts("labels.invoice_amount" if price["base"] == view.invoice["amount"] else "labels.base_rest")
        yield from ("", f"{texts('sums.how')}{which}", f"{base}: {texts.money(price['base'], currency)}")
        yield from _price(price, texts, currency)
    if sums["payments"]:
        yield from ("", texts("receipt.payments"))
    known_by = {payment["key"]: payment["payment_hash"] or payment["txid"] or "" for payment in view.payments}
    for line in sums["payments"]:
        yield f"{btc_text(line['amount_sat'])} BTC {known_by.get(line['key'], '')}".rstrip()
    yield from ("", texts("sums.balance"))
    rows = [("asked", "due_sat", "charge"), ("received", "received_sat", "received")]
    rows += [("excess", "excess_sat", "excess")] if sums["excess_sat"] else []
    rows += [("waived", "waived_sat", "charge_open")] if sums["waived_sat"] else []
    for name, sat, money in rows:
        yield f"{texts(f'sums.{name}')}: {btc_text(sums[sat])} BTC, {texts.money(sums[money], currency)}"
    if sums["aside_sat"]:
        yield f"{texts('sums.aside')}: {btc_text(sums['aside_sat'])} BTC"
    yield from ("", f"{view.invoice['payment_url']}/receipt", "", texts("receipt.not_tax"))


def _price(price: dict[str, Any], texts: Texts, currency: str) -> Iterator[str]:
    if price["together"] != price["base"]:
        if price["risk_bps"]:
            yield f"{texts('labels.risk', percent=texts.percent(price['risk_bps']))}: {texts.money(price['cover'], currency)}"
        if price["fee_buffer"].strip("0."):
            yield f"{texts('labels.fee_buffer')}: {texts.money(price['fee_buffer'], currency)}"
        yield f"{texts('labels.sum')}: {texts.money(price['together'], currency)}"
    yield f"{texts('labels.rate')}: {texts.money(price['rate'], currency)}"
    yield f"{texts('labels.in_bitcoin')} ({texts('sums.rounded_up')}): {btc_text(price['due_sat'])} BTC"
