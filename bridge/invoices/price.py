"""The current price, and quotes made from it.

Owns how a quote is put together; the formula and the guards are `core.quote`'s.
"""

import json
import logging
from datetime import datetime, timedelta
from typing import Any

from bridge.context import Bridge
from bridge.core.clock import believed
from bridge.core.errors import Unavailable
from bridge.core.evidence import Sample
from bridge.core.money import exact_text
from bridge.core.policy import Rule
from bridge.core.quote import Quote, Rate, agreed_rate, buffer_of_part, due_sat
from bridge.logs import log
from bridge.store import invoices
from bridge.store.db import Tx


def current_rate(bridge: Bridge, currency: str, now: datetime) -> Rate:
    """The agreed price now. Calls the network: never inside a transaction. Raises Unavailable("price_unavailable")."""
    last = bridge.last_rates.get(currency)
    if last is not None and not _is_remembered(bridge, last, now):
        last = None
    try:
        samples = bridge.rates.sample(currency, now)
        rate = agreed_rate(samples, currency=currency, now=now, guards=bridge.guards, last=last)
    except Unavailable as error:
        bridge.metrics.quotes.labels(outcome="refused").inc()
        log("price.refused", level=logging.WARNING, currency=currency, detail=error.detail)
        raise
    bridge.last_rates[currency] = rate
    return rate


def _is_remembered(bridge: Bridge, last: Rate, now: datetime) -> bool:
    agreed_at = believed(last.agreed_at, now=now)
    return agreed_at is not None and now - agreed_at <= timedelta(seconds=bridge.jump_memory_seconds)


def offer(*, version: int, base_minor: int, amount_minor: int, rate: Rate, rule: Rule, now: datetime) -> Quote:
    """A quote for the payer, good for the rule's time. `base_minor` is what is open of the invoice's `amount_minor`."""
    return _quote(
        kind="offer",
        version=version,
        base_minor=base_minor,
        amount_minor=amount_minor,
        rate=rate,
        rule=rule,
        effective_from=now,
        expires_at=now + timedelta(seconds=rule.quote_ttl_seconds),
    )


def late_quote(
    *, version: int, base_minor: int, amount_minor: int, rate: Rate, rule: Rule, seen_from: datetime, now: datetime
) -> Quote:
    """The worth of money that came when no offer was active: today's price, for what was seen up to now."""
    return _quote(
        kind="late",
        version=version,
        base_minor=base_minor,
        amount_minor=amount_minor,
        rate=rate,
        rule=rule,
        effective_from=seen_from,
        expires_at=now,
    )


def keep_late_quote(
    tx: Tx, row: Any, rate: Rate, *, version: int, base_minor: int, rule: Rule, seen_from: datetime, now: datetime
) -> None:
    """Values money of the invoice `row` that came when no offer was active, for ever."""
    quote = late_quote(
        version=version,
        base_minor=base_minor,
        amount_minor=row.amount_minor,
        rate=rate,
        rule=rule,
        seen_from=seen_from,
        now=now,
    )
    invoices.add_quote(tx, row.id, quote, now=now, policy_version=row.policy_version, samples=samples_json(rate))


def _quote(*, base_minor: int, amount_minor: int, rate: Rate, rule: Rule, **facts: Any) -> Quote:
    """The buffers are the same whoever pays when: if late money went without them, waiting would be cheaper than paying."""
    whole_minor = rule.fee_buffer_minor.get(rate.currency, 0)
    fee_buffer_minor = buffer_of_part(whole_minor, base_minor=base_minor, amount_minor=amount_minor)
    asked_sat = due_sat(
        base_minor=base_minor,
        price_minor=rate.price_minor,
        risk_bps=rule.risk_bps,
        fee_buffer_minor=fee_buffer_minor,
    )
    return Quote(
        currency=rate.currency,
        base_minor=base_minor,
        price_minor=rate.price_minor,
        risk_bps=rule.risk_bps,
        fee_buffer_minor=fee_buffer_minor,
        due_sat=asked_sat,
        **facts,
    )


def samples_json(rate: Rate) -> str:
    """The prices a quote rests on, and the parts of those that are cross rates, as they are kept with it for ever."""
    return json.dumps([_sample_json(sample) for sample in rate.samples])


def _sample_json(sample: Sample) -> dict[str, Any]:
    told = {
        "source": sample.source,
        "price_minor": sample.price_minor,
        "observed_at": sample.observed_at.isoformat(),
    }
    parts = [
        {
            "source": part.source,
            "pair": part.pair,
            "price": exact_text(part.price),
            "observed_at": part.observed_at.isoformat(),
        }
        for part in sample.parts
    ]
    return told | ({"parts": parts} if parts else {})
