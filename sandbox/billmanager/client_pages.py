"""Owns the client's pages: ordering, paying, payments, services. It must not go around the core's functions."""

from __future__ import annotations

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from sandbox.billmanager import sessions
from sandbox.billmanager.pages import error_of, page, perform, the_core, viewer
from sandbox.billmanager.rows import Paymethod
from sandbox.billmanager.world import random_text

blueprint = Blueprint("client", __name__, url_prefix="/client")
Shown = str | BaseResponse | tuple[str, int]
# In the first currency that is offered, rubles as a rule: enough to be paid on a chain with fees.
PRICES = {"vps": "499.00", "domain": "990.00", "topup": "500.00"}


@blueprint.before_request
def only_clients() -> BaseResponse | None:
    """Strangers log in first; administrators have their own pages."""
    user = viewer()
    return None if user.account else redirect("/admin/" if user is not sessions.NOBODY else "/")


def methods() -> list[Paymethod]:
    """The methods a client may choose: active, and not hidden by `noselect`."""
    core = the_core()
    hidden = {name for name in core.registry.plugins() if "noselect" in core.registry.declared(name).features}
    return [m for m in core.world.paymethods.values() if m.active and m.module not in hidden]


def account_page(*, error: tuple[str, str] | None = None, sent: dict[str, str] | None = None) -> str:
    """The first page: balance, order form, services, payments."""
    core, user = the_core(), viewer()
    world, known = core.world, methods()
    with world.lock:
        payments = [p for p in world.payments.values() if p.account == user.account]
        return page(
            "client",
            account=world.accounts[user.account],
            services=sorted((s for s in world.services.values() if s.account == user.account), key=lambda s: -s.id),
            payments=sorted(payments, key=lambda p: -p.id),
            names={m.module: m.name for m in known},
            currencies=list(dict.fromkeys(world.currencies[m.currency].iso for m in known)),
            prices=PRICES,
            error=error,
            sent=sent or {},
            randomnumber=random_text(12),
        )


@blueprint.get("/")
def account() -> str:
    """The client's first page."""
    return account_page()


@blueprint.post("/order")
def order() -> Shown:
    """Order something and go to the gateway's page; the same form sent twice is one payment."""
    core, sent = the_core(), request.form.to_dict()
    user = viewer()
    known = [m for m in methods() if m.module == sent.get("module")]
    method = next((m for m in known if core.world.currencies[m.currency].iso == sent.get("currency")), None)
    if method is None:
        return account_page(error=("currency", ""), sent=sent), 422
    paying = {name: sent.get(name, "") for name in ("amount", "randomnumber")}
    paying |= {"paymethod": str(method.id), "payment_currency": str(method.currency)}
    paying |= {"clicked_button": "topaysystem", "snext": "ok", "sok": "ok"}
    if sent.get("product") != "topup" and not _sent_before(user.account, paying["randomnumber"]):
        wish = {name: sent.get(name, "") for name in ("product", "amount", "currency")}
        ordered = perform("order.add", wish)
        if (error := error_of(ordered)) is not None:
            return account_page(error=error, sent=sent), 422
        paying["billorder"] = ordered.findtext("billorder", "")
    document = perform("payment.add.method", paying)
    if (error := error_of(document)) is not None:
        return account_page(error=error, sent=sent), 422
    return redirect(document.findtext("ok") or "/client/")


def _sent_before(account_id: int, mark: str) -> bool:
    world = the_core().world
    with world.lock:
        return any(p.account == account_id and p.randomnumber == mark for p in world.payments.values())


@blueprint.get("/payments/<int:payment_id>")
def payment(payment_id: int) -> Shown:
    """One payment with its history and service."""
    core, user = the_core(), viewer()
    world = core.world
    found = world.payments.get(payment_id)
    if found is None or found.account != user.account:
        return page("document", func="payment", text="404"), 404
    service = next((s for s in world.services.values() if s.order == found.billorder and found.billorder), None)
    method = world.paymethods[found.paymethod]
    script = core.registry.declared(method.module).params.get("payment_script", "")
    payable = found.status in (1, 2, 8) and script
    return page(
        "payment",
        payment=found,
        service=service,
        method=method,
        history=world.payment_history(payment_id),
        pay_url=f"{script}?elid={found.id}" if payable else "",
        admin=False,
    )
