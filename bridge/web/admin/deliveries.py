"""The delivery console: what merchants were told, every try, and sending again.

Owns the pages; the sending is the worker's.
"""

from flask import request

from bridge.desk.desk import deliveries_page, delivery_counts
from bridge.invoices.deliver import show_delivery
from bridge.invoices.inbox import show_event
from bridge.web.admin.door import bridge, page, render
from bridge.web.admin.lists import chosen


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
