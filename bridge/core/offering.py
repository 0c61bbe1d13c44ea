"""Which ways to pay an invoice has, and in which order: a table of rules by amount, tier, country, cost and how a rail stands.

Owns that choice and the codes of its refusals; must not ask a rail how it stands, callers say what is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, get_args

from pydantic import AfterValidator

from bridge.core.ledger import Way
from bridge.core.limits import Bps, Count, Positive, like

BITCOIN: Final = "bitcoin"
LIGHTNING: Final = "lightning"
WAYS: tuple[Way, ...] = get_args(Way)
# Why a way is not offered, in the order in which it is looked at.
CODES = (
    "paused",  # an operator has switched its wallet off
    "below_minimum",  # of the rail, or of the rule
    "above_maximum",
    "not_for_tier",
    "not_for_country",
    "rail_unwell",  # its health is known, and bad
    "capacity_too_small",  # less can come in over it now
    "too_dear",  # what it takes is more than the rule allows
)


@dataclass(frozen=True, kw_only=True)
class WayRule:
    """When one way is offered; amounts in satoshi. Of two ways the one with the lower `place` is shown first.

    `tiers` and `countries` name the only ones that have it, `but_tiers` and `but_countries` those that do not; empty is no limit.
    """

    least_sat: Count = 0
    most_sat: Positive | None = None
    tiers: Annotated[tuple[str, ...], like(("trusted",))] = ()
    but_tiers: Annotated[tuple[str, ...], like(("exact",))] = ()
    countries: Annotated[tuple[str, ...], like(("DE",))] = ()
    but_countries: Annotated[tuple[str, ...], like(("US",))] = ()
    max_cost_bps: Bps | None = None
    place: Count = 0


def _sensible(rule: WayRule) -> WayRule:
    if rule.most_sat is not None and rule.most_sat < rule.least_sat:
        raise ValueError("most_sat must not be below least_sat: the way would never be offered")
    return rule


# The rules of a merchant by way. A way without one is offered whenever its rail can.
Offering = Mapping[Way, Annotated[WayRule, AfterValidator(_sensible)]]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one rail stands, as far as it is known: what is not known refuses nothing."""

    way: str
    least_sat: int = 1
    most_sat: int | None = None
    is_paused: bool = False
    is_unwell: bool = False
    inbound_sat: int | None = None
    cost_bps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One way of an answer: offered where `code` is empty, else refused for that reason."""

    way: str
    code: str = ""


def choose(
    standing: Iterable[Standing], rules: Offering, *, sat: int, tier: str = "", country: str = ""
) -> tuple[Chosen, ...]:
    """Every way with its answer, in the order to show them; the first of `standing` is there already.

    Where all are refused the first is offered all the same: a payer who can pay nowhere helps nobody.
    """
    order = list(enumerate(standing))
    judged = [
        (
            _rule(rules, each).place,
            place,
            Chosen(way=each.way, code=_refusal(each, _rule(rules, each), sat, tier, country)),
        )
        for place, each in order
    ]
    if judged and all(chosen.code for *_, chosen in judged):
        judged[0] = (*judged[0][:2], Chosen(way=judged[0][2].way))
    return tuple(chosen for *_, chosen in sorted(judged, key=lambda each: each[:2]))


def _rule(rules: Offering, standing: Standing) -> WayRule:
    return next((rule for way, rule in rules.items() if way == standing.way), WayRule())


def _refusal(its: Standing, rule: WayRule, sat: int, tier: str, country: str) -> str:
    """The first code that applies, "" for none."""
    most = [each for each in (its.most_sat, rule.most_sat) if each is not None]
    conditions = {
        "paused": its.is_paused,
        "below_minimum": sat < max(its.least_sat, rule.least_sat),
        "above_maximum": bool(most) and sat > min(most),
        "not_for_tier": _is_left_out(tier, rule.tiers, rule.but_tiers),
        "not_for_country": _is_left_out(country.upper(), rule.countries, rule.but_countries),
        "rail_unwell": its.is_unwell,
        "capacity_too_small": its.inbound_sat is not None and sat > its.inbound_sat,
        "too_dear": None not in (rule.max_cost_bps, its.cost_bps) and (its.cost_bps or 0) > (rule.max_cost_bps or 0),
    }
    return next((code for code in CODES if conditions[code]), "")


def _is_left_out(value: str, only: tuple[str, ...], but: tuple[str, ...]) -> bool:
    return (bool(only) and value not in only) or value in but
