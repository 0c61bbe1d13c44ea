"""The payer's form for the address of a refund, opened by a link that the billing system or an operator handed on.

Owns the way from HTTP to that flow; must not tell a wrong link from a wrong invoice.
"""

from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from bridge.core.errors import BridgeError, Refused
from bridge.core.offering import LIGHTNING
from bridge.invoices.pay import pay_view
from bridge.payouts.refunds import ask_excess_back, refund_form, set_refund_address
from bridge.web.context import here
from bridge.web.figures import groups_of_four
from bridge.web.look import clean, look, render, texts_for

routes = Blueprint("refund", __name__)

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


@routes.get("/<public_id>/refund")
def form(public_id: str) -> AnyResponse:
    """How the refund stands, and the form while the address may still be named or changed."""
    return _page(public_id, request.args.get("proof", ""))


@routes.post("/<public_id>/refund")
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
        return _page(public_id, proof, wrong=refused, address=address, signature=signature)
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


def _page(public_id: str, proof: str, *, wrong: BridgeError | None = None, **sent: str) -> Response:
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
