"""The current price, and quotes made from it.

Owns how a quote is put together; the formula and the guards are `core.quote`'s.
"""

import json
import logging
from datetime import datetime, timedelta
from typing import Any

from bridge.core.errors import Unavailable
from bridge.core.evidence import Sample
from bridge.core.money import exact_text
from bridge.core.policy import Rule
from bridge.core.quote import Quote, Rate, agreed_rate, due_sat
from bridge.flows.context import Bridge
from bridge.logs import log


def current_rate(bridge: Bridge, currency: str, now: datetime) -> Rate:
    """The agreed price now. Calls the network: never inside a transaction. Raises Unavailable("price_unavailable")."""
    last = bridge.last_rates.get(currency)
    if last is not None and now - last.agreed_at > timedelta(seconds=bridge.jump_memory_seconds):
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


def offer(*, version: int, base_minor: int, rate: Rate, rule: Rule, now: datetime) -> Quote:
    """A quote for the payer, with the rule's buffers, good for the rule's time."""
    fee_buffer_minor = rule.fee_buffer_minor.get(rate.currency, 0)
    return Quote(
        version=version,
        kind="offer",
        currency=rate.currency,
        base_minor=base_minor,
        price_minor=rate.price_minor,
        risk_bps=rule.risk_bps,
        fee_buffer_minor=fee_buffer_minor,
        due_sat=due_sat(
            base_minor=base_minor,
            price_minor=rate.price_minor,
            risk_bps=rule.risk_bps,
            fee_buffer_minor=fee_buffer_minor,
        ),
        effective_from=now,
        expires_at=now + timedelta(seconds=rule.quote_ttl_seconds),
    )


def late_quote(*, version: int, base_minor: int, rate: Rate, seen_from: datetime, now: datetime) -> Quote:
    """The worth of money that came when no offer was active: today's price, no buffers, for what was seen up to now."""
    return Quote(
        version=version,
        kind="late",
        currency=rate.currency,
        base_minor=base_minor,
        price_minor=rate.price_minor,
        risk_bps=0,
        fee_buffer_minor=0,
        due_sat=due_sat(base_minor=base_minor, price_minor=rate.price_minor),
        effective_from=seen_from,
        expires_at=now,
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
