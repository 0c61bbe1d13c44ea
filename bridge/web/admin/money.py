"""Money that leaves: payouts with what may be done about them, and the treasury.

Owns the pages; two different people stand behind every payout, and the flows refuse what the pages do not offer.
"""

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from bridge.actions.money import APPROVE
from bridge.core.errors import Refused
from bridge.core.payout import KINDS, STATES
from bridge.desk.desk import series
from bridge.payouts.decide_payout import approve_payout, list_payouts, show_payout
from bridge.payouts.treasury import treasury_view
from bridge.web.admin.charts import Chart
from bridge.web.admin.door import actor, bridge, done, form, page, reason, render
from bridge.web.admin.lists import chosen
from bridge.web.admin.today import charts


@page("/payouts")
def payout_list() -> str:
    """Newest first; those that wait for an approval are a click away."""
    match = chosen("state", "kind", "merchant", "invoice_id")
    found = list_payouts(bridge(), match=match, cursor=request.args.get("cursor") or None)
    is_sent = bool(bridge().senders)
    return render("payouts.html", found=found, match=match, states=STATES, kinds=KINDS, is_sent=is_sent)


@page("/payouts/<payout_id>")
def payout(payout_id: str) -> str:
    """One payout with its approvals, and what this person may do about it."""
    return render("payout.html", payout=show_payout(bridge(), payout_id))


@form("/payouts/<payout_id>/approve", APPROVE)
def approve(payout_id: str) -> AnyResponse:
    """This person's approval of what the page showed: of that address and that sum, and of nothing newer."""
    found = show_payout(bridge(), payout_id)
    seen = (request.form.get("destination", ""), request.form.get("gross_sat", ""))
    if seen != (found["destination"] or "", str(found["gross_sat"])):
        raise Refused("payout_changed", "The payout is not what you saw any more; look at it again.")
    approve_payout(bridge(), payout_id, actor=actor(), reason=reason())
    return done("approved", "payout", payout_id=payout_id)


@page("/treasury")
def treasury() -> str:
    """The wallets by role, what is owed, what is free, the next sweep."""
    view = treasury_view(bridge())
    sweeps = list_payouts(bridge(), match={"kind": "sweep"}, limit=10)["payouts"]
    return render("treasury.html", view=view, sweeps=sweeps, chart=_hot_chart())


def _hot_chart() -> Chart:
    return next(chart for chart in charts(series(bridge())) if chart.name in ("hot", "own"))
