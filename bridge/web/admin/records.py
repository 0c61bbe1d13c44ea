"""Reconciliation, audit and the switches.

Owns these pages; must not compare, judge or switch anything itself.
"""

from datetime import timedelta

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from bridge.books.reconcile import list_reconciliations, show_reconciliation, start_reconciliation
from bridge.books.verify import verify_audit
from bridge.core.errors import Refused
from bridge.desk.desk import audit_page, switches
from bridge.permit import MODES, WALLET_MODES
from bridge.web.admin.door import actor, bridge, done, form, page, reason, render
from bridge.web.admin.lists import chosen


@page("/reconciliation")
def reconciliation() -> str:
    """The last runs, newest first."""
    return render("reconciliation.html", runs=list_reconciliations(bridge(), limit=20))


@page("/reconciliation/<run_id>")
def reconciliation_run(run_id: str) -> str:
    """One run: how far it is, and what differs."""
    after = request.args.get("cursor", "0")
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise Refused("invalid_cursor", "Use the next_cursor of the page before.", field="cursor")
    return render("run.html", run=show_reconciliation(bridge(), run_id, after=int(after), limit=50))


@form("/reconciliation/run", "books.export")
def reconcile_now() -> AnyResponse:
    """Begins a run; the worker carries it on and the page shows how far it is."""
    days = request.form.get("days", "7")
    if not (days.isascii() and days.isdecimal() and len(days) < 6 and 1 <= int(days) <= 3_660):
        raise Refused("bad_period", "Between one day and ten years.", field="days")
    from_at = bridge().clock() - timedelta(days=int(days))
    run_id = start_reconciliation(bridge(), from_at=from_at, actor=actor(), reason=reason())
    return done("run_started", "reconciliation_run", run_id=run_id)


@page("/audit")
def audit() -> str:
    """Who did what, newest first; the chain is checked on request, for that reads all of it."""
    match = chosen("actor", "action", "invoice_id")
    found = audit_page(bridge(), match=match, cursor=request.args.get("cursor", ""))
    report = verify_audit(bridge()) if "verify" in request.args else None
    return render("audit.html", page=found, match=match, report=report)


@page("/modes")
def modes() -> str:
    """The switches of the bridge and its wallets."""
    return render("modes.html", switches=switches(bridge()), modes=MODES, wallet_modes=WALLET_MODES)
