"""One invoice with everything: its story, facts, money and messages, and what may be done with it.

Owns the page; must not change an invoice, the flows do.
"""

from bridge.core.payout import VARIANTS
from bridge.desk.desk import invoice_dossier
from bridge.invoices.inbox import show_event
from bridge.web.admin.door import bridge, page, render, texts


@page("/invoices/<invoice_id>")
def invoice(invoice_id: str) -> str:
    """Everything about one invoice."""
    found = invoice_dossier(bridge(), invoice_id, lang=texts().code)
    return render("invoice.html", variants=VARIANTS, **found)


@page("/inbox/<event_id>")
def inbox_row(event_id: str) -> str:
    """What we were told, byte for byte."""
    return render("event.html", event=show_event(bridge(), event_id))
