"""The delivery console: what merchants were told, every try, and sending again.

Owns the pages; the sending is the worker's.
"""

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from bridge.flows.desk import deliveries_page, delivery_counts
from bridge.flows.redeliver import redeliver, show_delivery
from bridge.flows.replay import send_test_event, show_event
from bridge.web.admin.door import actor, bridge, done, form, page, reason, render
from bridge.web.admin.lists import chosen

SEND = "delivery.redeliver"


@page("/deliveries")
def delivery_list() -> str:
    """Newest first; parked ones are a click away."""
    match = chosen("state", "merchant")
    found = deliveries_page(bridge(), match=match, cursor=request.args.get("cursor", ""))
    pushed = [each.id for each in bridge().merchants.values() if each.wants_push]
    return render("deliveries.html", page=found, match=match, counts=delivery_counts(bridge()), merchants=pushed)


@page("/deliveries/<delivery_id>")
def delivery(delivery_id: str) -> str:
    """One message with every try and its body."""
    found = show_delivery(bridge(), delivery_id)
    return render("delivery.html", delivery=found, event=show_event(bridge(), found["event_id"]))


@form("/deliveries/<delivery_id>/redeliver", SEND)
def redeliver_one(delivery_id: str) -> AnyResponse:
    """Puts a finished message back into the queue; the receiver knows a repeated event by its id."""
    is_queued = redeliver(bridge(), delivery_id, actor=actor(), reason=reason())
    return done("queued" if is_queued else "under_way", "delivery", delivery_id=delivery_id)


@form("/deliveries/test", SEND)
def test_event() -> AnyResponse:
    """Sends a merchant an event that changes nothing."""
    merchant = request.form.get("merchant", "")
    send_test_event(bridge(), merchant, actor=actor(), reason=reason())
    return done("test_sent", "delivery_list", merchant=merchant)
