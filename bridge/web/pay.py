"""The payer's pages: the invoice, its live status, a new price, the receipt; and the form for the address of a refund, which a link
opens that the billing system or an operator handed on.

Owns the way from HTTP to the page flows; must not show an address that must not be paid now, nor tell wrong ids or links apart.
"""

import hashlib
import json
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from bridge.core.errors import BridgeError, Conflict, Refused, Unavailable
from bridge.core.offering import LIGHTNING, WAYS
from bridge.invoices.offer_beside import offer_beside
from bridge.invoices.pay import PayView, pay_view, requote
from bridge.invoices.present import PaymentShape, View, time_text
from bridge.invoices.statement import RefundShape, StatementShape, statement_json
from bridge.language import Texts
from bridge.payouts.refunds import ask_excess_back, refund_form, set_refund_address
from bridge.web.context import here
from bridge.web.errors import asks_for_json
from bridge.web.look import clean, look, render, texts_for
from bridge.web.story import (
    Story,
    elsewhere_link,
    excess_parts,
    groups_of_four,
    page_link,
    shown_payments,
    tell,
    to_pay,
)
from bridge.web.ways import open_way, way_of

# The scenes in which bitcoin cannot be had now, or not any more.
ELSEWHERE = ("price_unavailable", "quote_lapsed", "expired", "closed")

routes = Blueprint("pay", __name__, url_prefix="/pay")


class PayWayShape(View):
    """One way to pay, for the payer: offered (pay to `text`), possible (made when asked for) or refused (`code` says why)."""

    way: str
    state: str
    code: str
    text: str
    uri: str
    due_sat: int
    expires_at: str | None


class PayStatusShape(View):
    """Where an invoice stands, for its payer. `poll_seconds` 0 means that nothing more will happen."""

    state: str
    status: str
    exception: str
    hold: str | None
    reason: str
    trouble: str
    title: str
    happened: str
    service: str
    next: str
    you: str
    retrying: bool
    is_final: bool
    poll_seconds: int
    received_sat: int
    confirmed_sat: int
    remaining_sat: int
    shown_sat: int
    confirmations_seen: int
    confirmations_needed: int
    is_blind: bool
    looked_at: str | None
    quote_expires_at: str
    expires_at: str
    ways: list[PayWayShape]
    payments: list[PaymentShape]
    settled_at: str | None
    statement: StatementShape
    refunds: list[RefundShape]
    excess: str


@routes.get("/<public_id>")
def page(public_id: str) -> Response:
    """The pay page: everything in one answer, usable without a script."""
    view = pay_view(here().bridge, public_id)
    return _page(view)


@routes.get("/<public_id>/status")
def status(public_id: str) -> AnyResponse:
    """A small JSON for the page's script; 304 while nothing changed."""
    view = here().polled.view(here().bridge, public_id)
    texts = texts_for(view.locale)
    story = tell(view, texts, shop_name=here().shop.name, opened=way_of(view, _asked_way()))
    response = jsonify(_status_json(view, story))
    response.set_etag(_etag(view, story, texts))
    return response.make_conditional(request)


@routes.post("/<public_id>/quote")
def new_price(public_id: str) -> AnyResponse:
    """The payer asks for a new price. Asking twice gives one price; without a price the page says so."""
    try:
        requote(here().bridge, public_id)
    except Unavailable as trouble:
        response = _page(pay_view(here().bridge, public_id), key="price_unavailable")
        response.status_code = 503
        response.headers["Retry-After"] = str(trouble.retry_after_seconds or 30)
        return response
    return _back_to_page(public_id)


@routes.get("/<public_id>/quote")
def new_price_reloaded(public_id: str) -> AnyResponse:
    """Somebody reloaded the answer to a new price as a link: back to the page, nothing is done."""
    return _back_to_page(public_id)


@routes.post("/<public_id>/way")
def way(public_id: str) -> AnyResponse:
    """The payer asks for another way to pay: what is made is shown on the page, or told as JSON to who asks for that.

    When it cannot be had the page says why, and the first way is as it was.
    """
    bridge, wanted = here().bridge, request.form.get("way", "")[:20]
    try:
        target = offer_beside(bridge, public_id, wanted)
    except (Refused, Conflict, Unavailable) as trouble:
        if asks_for_json() or trouble.code == "unknown_invoice":
            raise
        return _back_to_page(public_id, way=wanted, refused=trouble.code)
    if not asks_for_json():
        return _back_to_page(public_id, way=target.way)
    shown = next(each for each in pay_view(bridge, public_id).ways if each.way == target.way)
    return jsonify(PayWayShape.of(shown))


@routes.get("/<public_id>/way")
def way_reloaded(public_id: str) -> AnyResponse:
    """Somebody reloaded the answer to that as a link: back to the page, nothing is done."""
    return _back_to_page(public_id)


@routes.get("/<public_id>/receipt")
def receipt(public_id: str) -> AnyResponse:
    """The payment receipt, for printing; before the invoice is settled there is none."""
    view = pay_view(here().bridge, public_id)
    if view.status != "settled":
        return _back_to_page(public_id)
    texts, shop = texts_for(view.locale), here().shop
    sums = statement_json(view.statement, view.invoice["currency"])
    payments = [p for p in shown_payments(view, shop, sums) if not p["replaced"]]
    return Response(
        render(
            "receipt.html",
            texts,
            view=view,
            invoice=view.invoice,
            description=clean(view.description),
            payments=payments,
            sums=sums,
            paid_over=[way for way in WAYS if any(p["way"] == way for p in payments)],
            pay_url=url_for("pay.page", public_id=public_id),
        )
    )


def _page(view: PayView, *, key: str | None = None) -> Response:
    texts, shop, asked = texts_for(view.locale), here().shop, _asked_way()
    story = tell(view, texts, shop_name=shop.name, key=key, opened=way_of(view, asked))
    refused, sums = request.args.get("refused", ""), statement_json(view.statement, view.invoice["currency"])
    payments = shown_payments(view, shop, sums)
    body = render(
        "pay.html",
        texts,
        view=view,
        invoice=view.invoice,
        story=story,
        scene=story.scene,
        description=clean(view.description),
        return_url=page_link(view.return_url),
        # Who has sent nothing may pay another way; the reason is the scene's, where it has one.
        elsewhere="" if payments else elsewhere_link(view.return_url),
        why_elsewhere=story.key if story.key in ELSEWHERE else "wish",
        payments=payments,
        sums=sums,
        excess=_excess(view),
        excess_parts=excess_parts(view),
        to_pay=to_pay(view),
        way=asked,
        pay=open_way(view, texts, asked=asked, refused=refused) if story.shows_address else None,
        etag=_etag(view, story, texts),
        now=time_text(view.now),
        pay_url=url_for("pay.page", public_id=view.public_id),
    )
    return Response(body, mimetype="text/html")


def _asked_way() -> str:
    """The way that the payer chose, "" for none."""
    asked = request.args.get("way", "")
    return asked if asked in WAYS else ""


def _excess(view: PayView) -> str:
    """What is said of too much, in this shop."""
    return "support" if view.excess == "ask" and not here().shop.excess_refunds else view.excess


def _status_json(view: PayView, story: Story) -> dict[str, Any]:
    invoice, scene = view.invoice, story.scene
    return PayStatusShape.of(
        view,
        **{name: getattr(story, name) for name in ("title", "happened", "service", "next", "you")},
        **{
            name: invoice[name] for name in ("received_sat", "confirmed_sat", "remaining_sat", "expires_at", "payments")
        },
        state=story.key,
        trouble="service" if view.is_blind else scene.family,
        retrying=scene.retrying,
        is_final=scene.poll_seconds == 0,
        poll_seconds=scene.poll_seconds,
        shown_sat=view.shown_sat if story.shows_address else 0,
        quote_expires_at=invoice["quote"]["expires_at"],
        ways=[PayWayShape.of(each) for each in view.ways],
        statement=statement_json(view.statement, invoice["currency"]),
        excess=_excess(view),
    )


def _etag(view: PayView, story: Story, texts: Texts) -> str:
    """Changes exactly when the page or its status would: with the invoice, its refunds, time (a quote lapses), the language."""
    parts = (
        view.etag,
        story.key,
        story.you,
        str(view.shown_sat),
        str(story.can_requote),
        str(view.is_blind),
        _excess(view),
        json.dumps(view.refunds, sort_keys=True),
        texts.code,
    )
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:24]


def _back_to_page(public_id: str, **said: Any) -> AnyResponse:
    """`said` is what the page should know of what was just asked, as its query."""
    lang = request.args.get("lang", "")
    said |= {"lang": lang} if lang in look().languages.all else {}
    said = ({"way": _asked_way()} if _asked_way() else {}) | said
    return redirect(url_for("pay.page", public_id=public_id, **said), code=303)


refund_routes = Blueprint("refund", __name__)

# A payment request of Lightning may have as many letters as a QR code holds.
LONGEST_FIELD = 4_400
# A proof for a multisig address holds its keys and signatures.
LONGEST_SIGNATURE = 5_000
# What can be put right in the form itself; everything else ends on an error page.
IN_THE_FORM = frozenset(
    {"bad_address", "wrong_network", "own_address", "already_submitted"}
    | {"signature_differs", "signature_unsupported", "signature_time_locked"}
    | {"bad_bolt11", "no_amount", "wrong_amount", "bolt11_expired", "bolt11_expires_soon", "bolt11_used"}
    | {"lightning_not_sent", "bad_lightning_address", "lightning_address_refuses", "blocked_url", "below_min_send"}
    | {"lightning_address_unavailable", "lightning_address_unreadable"}
)


@refund_routes.get("/<public_id>/refund")
def form(public_id: str) -> AnyResponse:
    """How the refund stands, and the form while the address may still be named or changed."""
    return _refund_page(public_id, request.args.get("proof", ""))


@refund_routes.post("/<public_id>/refund")
def name_address(public_id: str) -> AnyResponse:
    """Names the address and leads back; what is wrong with it is said beside the field.

    Without the proof of a form the pay page asks for what was too much: that leads to the form.
    """
    if request.form.get("ask") == "excess":
        return _to_form_for_excess(public_id)
    proof, signature = _sent("proof"), _sent("signature", LONGEST_SIGNATURE)
    # Wallets show addresses in groups and on several lines; no address holds a space.
    address = "".join(_sent("address").split())
    try:
        set_refund_address(here().bridge, public_id, address=address, proof=proof, signature=signature)
    except BridgeError as refused:
        if refused.code not in IN_THE_FORM:
            raise _same_for_all(refused) from None
        return _refund_page(public_id, proof, wrong=refused, address=address, signature=signature)
    return redirect(url_for("pay.refund.form", public_id=public_id, proof=proof, lang=_lang()), code=303)


def _to_form_for_excess(public_id: str) -> AnyResponse:
    """What cannot be asked for any more, or not here, the page itself says."""
    to_page = redirect(url_for("pay.page", public_id=public_id, lang=_lang()), code=303)
    if not here().shop.excess_refunds:
        return to_page
    try:
        form_url = ask_excess_back(here().bridge, public_id)
    except Refused as refused:
        if refused.code == "unknown_invoice":
            raise
        return to_page
    proof = form_url.partition("?proof=")[2]
    return redirect(url_for("pay.refund.form", public_id=public_id, proof=proof, lang=_lang()), code=303)


def _lang() -> str | None:
    """The language that was chosen by hand."""
    lang = request.args.get("lang")
    return lang if lang in look().languages.all else None


def _refund_page(public_id: str, proof: str, *, wrong: BridgeError | None = None, **sent: str) -> Response:
    try:
        refund = refund_form(here().bridge, public_id, proof=proof)
    except Refused as refused:
        raise _same_for_all(refused) from None
    view = pay_view(here().bridge, public_id)
    body = render(
        "refund.html",
        texts_for(view.locale),
        view=view,
        refund=refund,
        state=_state(refund),
        groups=groups_of_four(refund["destination"] or ""),
        explorer_url=here().shop.explorer_url(refund["txid"]) if refund["txid"] and not refund["is_lightning"] else "",
        description=clean(view.description),
        paid_over_lightning={p["way"] for p in view.payments if not p["replaced"]} == {LIGHTNING},
        wrong=wrong,
        sent=sent,
        proof=proof,
        longest_signature=LONGEST_SIGNATURE,
        pay_url=url_for("pay.page", public_id=public_id),
    )
    return Response(body, status=422 if wrong else 200, mimetype="text/html")


def _state(refund: dict[str, Any]) -> str:
    """The payout's state, told apart where the payer has something to do."""
    if refund["state"] == "requested":
        return "address_known" if refund["destination"] else "address_wanted"
    return str(refund["state"])


def _sent(name: str, longest: int = LONGEST_FIELD) -> str:
    return request.form.get(name, "")[:longest]


def _same_for_all(refused: BridgeError) -> BridgeError:
    if refused.code == "bad_proof":
        return Refused("unknown_invoice", "There is no such invoice.")
    return refused


routes.register_blueprint(refund_routes)
