"""The table of kinds: why an invoice stands where it stands, what its payer sees then, and what a person is asked.

Owns one row per code with all that follows from it, and the rulings; must not hold a sentence (the catalogues do) nor say
when a code applies: `core.invoice` and the flows that meet the trouble do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

FAST_SECONDS, SLOW_SECONDS = 5, 30


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How the payer's page looks and behaves in one situation.

    `family` says what kind of trouble it is: chain, quote, verification, service, or none. `poll_seconds` 0 means that
    nothing more will happen. `step` counts the steps done of: paid, seen, confirmed, service.
    """

    tone: str
    step: int = 0
    service: str = "waits"
    family: str = "none"
    poll_seconds: int = FAST_SECONDS
    may_pay: bool = False
    may_requote: bool = False
    retrying: bool = True


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What a person may answer."""

    code: str
    # To credit or close money by a person's word alone takes more than the right to work at the desk.
    permission: str = "review.mark"
    # The status, exception and reason of the invoice that it ends.
    verdict: tuple[str, str, str] | None = None
    # Today's price is asked first.
    needs_price: bool = False
    is_about_payout: bool = False


@dataclass(frozen=True, kw_only=True)
class Review:
    """The question that a kind asks a person."""

    # The role that rules, unless the operator's file names another.
    owner: str
    rulings: tuple[str, ...] = ("acknowledge",)
    # The ruling that is refused while money is missing: the client would have nothing to do then and nobody to ask.
    needs_cover: str | None = None
    # No automatic call and no payout of the invoice until somebody has ruled; else the invoice goes on.
    holds: bool = False
    # Due in a quarter of the time.
    is_urgent: bool = False
    # A ruling lets the chain's word do, where the provider says otherwise or cannot be asked.
    trusts_chain: bool = False
    # The note that is kept where the question answers itself; nobody ruled then, so nothing is let pass.
    withdrawn_when: str = ""
    # An item that belongs to no invoice shows what was seen last: a later reconciliation finds the same and more.
    is_refreshed: bool = False
    # Whether a send happened is no question about the invoice: nobody's final word on that answers it.
    is_about_payout: bool = False


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One code. With a `scene` it is a reason, with a `review` a kind of question, often both.

    `variants` are the scenes where the same reason leaves the payer with something else to do, by what is added to the code.
    `client` and `next` name what `explain` tells support: what the client sees, and what comes next.
    """

    code: str
    scene: Scene | None = None
    variants: Mapping[str, Scene] = field(default_factory=dict)
    client: str = "checked"
    next: str = "held"
    review: Review | None = None


_RULINGS = (
    Ruling(code="credit"),
    Ruling(code="accept_late", needs_price=True),
    Ruling(code="ask_remainder", permission="review.resolve", needs_price=True),
    Ruling(code="refund", permission="review.resolve", verdict=("invalid", "none", "refund_due")),
    Ruling(code="mark_settled", verdict=("settled", "marked", "marked_settled")),
    Ruling(code="mark_invalid", verdict=("invalid", "none", "marked_invalid")),
    Ruling(code="acknowledge", permission="review.resolve"),
    Ruling(code="payout_sent", is_about_payout=True),
    Ruling(code="payout_failed", is_about_payout=True),
    Ruling(code="payout_retry", is_about_payout=True),
)

# Step 3, not 4: that the service runs is the billing system's word, and the page does not have it.
_SETTLED = Scene(tone="good", step=3, service="starts", poll_seconds=0, retrying=False)
_CHECKED = Scene(
    tone="attention", step=1, family="verification", service="kept", poll_seconds=SLOW_SECONDS, retrying=False
)
# What is asked where the money may well be the shop's: it is taken, goes back, or never was any.
_TAKEN_OR_BACK = ("credit", "refund", "mark_invalid")

ROWS = (
    # Nobody is asked.
    Kind(code="awaiting_payment", scene=Scene(tone="wait", may_pay=True), client="waiting", next="lapse"),
    Kind(
        code="quote_lapsed",
        scene=Scene(tone="attention", family="quote", may_requote=True, poll_seconds=SLOW_SECONDS),
        client="lapsed",
        next="new_price",
    ),
    Kind(code="seen", scene=Scene(tone="progress", step=1, family="chain"), client="on_its_way", next="confirm"),
    Kind(
        code="confirming",
        scene=Scene(tone="progress", step=2, family="chain", poll_seconds=10),
        client="on_its_way",
        next="confirm",
    ),
    Kind(code="settled", scene=_SETTLED, client="paid", next="final"),
    Kind(code="overpaid", scene=_SETTLED, client="overpaid", next="final"),
    Kind(code="paid_late", scene=_SETTLED, client="paid", next="final"),
    Kind(code="marked_settled", scene=_SETTLED, client="paid", next="final"),
    Kind(
        code="expired",
        scene=Scene(
            tone="attention",
            family="quote",
            service="kept",
            may_requote=True,
            poll_seconds=SLOW_SECONDS,
            retrying=False,
        ),
        client="expired",
        next="expired",
    ),
    Kind(
        code="closed",
        scene=Scene(tone="bad", family="quote", service="stopped", poll_seconds=0, retrying=False),
        client="closed",
        next="closed",
    ),
    Kind(code="late_checking", scene=Scene(tone="attention", step=1, family="quote"), client="late", next="late"),
    Kind(
        code="marked_invalid",
        scene=Scene(tone="bad", service="stopped", poll_seconds=0, retrying=False),
        client="declined",
        next="declined",
    ),
    Kind(
        code="refund_due",
        scene=Scene(tone="attention", service="stopped", poll_seconds=SLOW_SECONDS, retrying=False),
        client="refund",
        next="refund",
    ),
    Kind(
        code="price_unavailable",
        scene=Scene(tone="bad", family="service", service="kept", may_requote=True, poll_seconds=0),
    ),
    Kind(
        code="billing_cancelled",
        scene=Scene(tone="bad", service="stopped", poll_seconds=SLOW_SECONDS, retrying=False),
        client="cancelled",
        next="expired",
    ),
    # A person is asked about an invoice: most of these hold it.
    Kind(code="large_amount", scene=_CHECKED, review=Review(owner="finance", holds=True, rulings=_TAKEN_OR_BACK)),
    Kind(
        code="provider_only_limit", scene=_CHECKED, review=Review(owner="finance", holds=True, rulings=_TAKEN_OR_BACK)
    ),
    Kind(
        code="provider_disagrees",
        scene=_CHECKED,
        review=Review(
            owner="operations",
            holds=True,
            is_urgent=True,
            rulings=("credit", "mark_settled", "refund", "mark_invalid"),
            trusts_chain=True,
        ),
    ),
    Kind(code="billing_conflict", scene=_CHECKED, review=Review(owner="support", holds=True, rulings=_TAKEN_OR_BACK)),
    Kind(
        code="suspicious_address",
        scene=Scene(tone="bad", family="verification", service="kept", poll_seconds=SLOW_SECONDS, retrying=False),
        review=Review(owner="security", holds=True, is_urgent=True, rulings=("credit", "mark_invalid")),
    ),
    Kind(
        code="wrong_network",
        scene=_CHECKED,
        review=Review(owner="operations", holds=True, is_urgent=True, rulings=("mark_invalid",)),
    ),
    Kind(
        code="address_crowded",
        scene=_CHECKED,
        review=Review(owner="operations", holds=True, rulings=("credit", "mark_settled", "mark_invalid")),
    ),
    Kind(
        code="evidence_missing",
        scene=Scene(tone="attention", family="chain", service="kept", poll_seconds=SLOW_SECONDS),
        client="looking",
        next="evidence",
        review=Review(
            owner="operations",
            rulings=("acknowledge", "mark_settled", "mark_invalid"),
            withdrawn_when="our readings are complete again",
        ),
    ),
    Kind(
        code="wallet_unread",
        scene=_CHECKED,
        review=Review(
            owner="operations",
            holds=True,
            is_urgent=True,
            rulings=("credit", "mark_settled", "refund", "mark_invalid"),
            trusts_chain=True,
            withdrawn_when="the wallet was read again",
        ),
    ),
    Kind(
        code="late",
        scene=_CHECKED,
        review=Review(
            owner="support",
            holds=True,
            rulings=("accept_late", "ask_remainder", "refund", "mark_settled", "mark_invalid"),
            needs_cover="accept_late",
        ),
    ),
    Kind(
        code="partial",
        scene=Scene(tone="attention", may_pay=True),
        variants={
            "lapsed": Scene(tone="attention", family="quote", may_requote=True, poll_seconds=SLOW_SECONDS),
            "expired": Scene(tone="attention", family="quote", service="kept", poll_seconds=SLOW_SECONDS),
            "held": _CHECKED,
        },
        review=Review(
            owner="support",
            holds=True,
            rulings=("credit", "ask_remainder", "refund", "mark_settled", "mark_invalid"),
            needs_cover="credit",
        ),
    ),
    Kind(
        code="failed_to_confirm",
        scene=Scene(tone="bad", step=1, family="chain", service="kept", poll_seconds=SLOW_SECONDS),
        review=Review(owner="support", holds=True, rulings=("credit", "mark_invalid")),
    ),
    Kind(
        code="reorged",
        scene=Scene(tone="attention", step=1, family="chain", service="kept", poll_seconds=SLOW_SECONDS),
        review=Review(owner="finance", holds=True, is_urgent=True, rulings=("credit", "mark_settled", "mark_invalid")),
    ),
    Kind(code="screening", scene=_CHECKED, review=Review(owner="compliance", holds=True, rulings=_TAKEN_OR_BACK)),
    # A person only has to see it.
    Kind(code="over", review=Review(owner="support")),
    Kind(
        code="replaced",
        scene=Scene(tone="attention", family="chain", may_pay=True),
        variants={"over": Scene(tone="attention", family="chain", may_requote=True, poll_seconds=SLOW_SECONDS)},
        client="replaced",
        review=Review(owner="support"),
    ),
    Kind(code="delivery_dead", review=Review(owner="operations")),
    Kind(code="claim", review=Review(owner="support")),
    Kind(code="refunded_twice", review=Review(owner="finance")),
    # A person is asked about money that leaves, about the books or about the gateway.
    Kind(
        code="outcome_unknown",
        review=Review(
            owner="finance",
            is_urgent=True,
            rulings=("payout_sent", "payout_failed", "payout_retry"),
            is_about_payout=True,
        ),
    ),
    Kind(code="recon_diff", review=Review(owner="finance", is_refreshed=True)),
    Kind(code="bad_signature", review=Review(owner="security")),
)

KINDS: Mapping[str, Kind] = {row.code: row for row in ROWS}
REASONS = frozenset(row.code for row in ROWS if row.scene)
REVIEWS: Mapping[str, Review] = {row.code: row.review for row in ROWS if row.review}
REVIEW_OWNERS = {code: review.owner for code, review in REVIEWS.items()}
HOLDING = frozenset(code for code, review in REVIEWS.items() if review.holds)
SCENES: Mapping[str, Scene] = {
    **{row.code: row.scene for row in ROWS if row.scene},
    **{f"{row.code}_{name}": scene for row in ROWS for name, scene in row.variants.items()},
}
RULINGS: Mapping[str, Ruling] = {row.code: row for row in _RULINGS}
VERDICTS = {code: ruling.verdict for code, ruling in RULINGS.items() if ruling.verdict}

# How a question that has answered itself is noted, where a person's ruling would stand.
WITHDRAWN = "withdrawn"


def review_of(kind: str) -> Review:
    """What there is to an item of this kind. One of a later version, which works beside this one while an upgrade rolls, is
    only taken note of.
    """
    return REVIEWS.get(kind, Review(owner="operations"))
