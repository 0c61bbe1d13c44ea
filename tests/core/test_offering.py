"""The table of when a way to pay is offered: one row per reason, and what wins when several apply."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.core.offering import CODES, Chosen, Offering, Standing, WayRule, choose

SAT = 15_000
CHAIN = Standing(way="bitcoin")


def lightning(**changes: Any) -> Standing:
    return Standing(way="lightning", **changes)


def said(standing: Standing, rule: WayRule | None = None, **asked: Any) -> str:
    """The code of Lightning beside a chain that is always offered."""
    rules: Offering = {"lightning": rule} if rule is not None else {}
    chosen = choose((CHAIN, standing), rules, **{"sat": SAT} | asked)
    assert Chosen(way="bitcoin") in chosen
    return next(each.code for each in chosen if each.way == "lightning")


TABLE: dict[str, tuple[Standing, WayRule | None, dict[str, Any], str]] = {
    "nothing said": (lightning(), None, {}, ""),
    "paused": (lightning(is_paused=True), None, {}, "paused"),
    "below the rail's least": (lightning(least_sat=SAT + 1), None, {}, "below_minimum"),
    "at the rail's least": (lightning(least_sat=SAT), None, {}, ""),
    "below the rule's least": (lightning(), WayRule(least_sat=SAT + 1), {}, "below_minimum"),
    "above the rail's most": (lightning(most_sat=SAT - 1), None, {}, "above_maximum"),
    "above the rule's most": (lightning(), WayRule(most_sat=SAT - 1), {}, "above_maximum"),
    "at both": (lightning(most_sat=SAT), WayRule(most_sat=SAT), {}, ""),
    "only for gold": (lightning(), WayRule(tiers=("gold",)), {"tier": "silver"}, "not_for_tier"),
    "gold itself": (lightning(), WayRule(tiers=("gold",)), {"tier": "gold"}, ""),
    "all but new": (lightning(), WayRule(but_tiers=("new",)), {"tier": "new"}, "not_for_tier"),
    "only there": (lightning(), WayRule(countries=("DE",)), {"country": "FR"}, "not_for_country"),
    "a small letter": (lightning(), WayRule(countries=("DE",)), {"country": "de"}, ""),
    "not there": (lightning(), WayRule(but_countries=("US",)), {"country": "US"}, "not_for_country"),
    "unwell": (lightning(is_unwell=True), None, {}, "rail_unwell"),
    "well": (lightning(is_unwell=False), None, {}, ""),
    "no room": (lightning(inbound_sat=SAT - 1), None, {}, "capacity_too_small"),
    "just room": (lightning(inbound_sat=SAT), None, {}, ""),
    "too dear": (lightning(cost_bps=51), WayRule(max_cost_bps=50), {}, "too_dear"),
    "dear enough": (lightning(cost_bps=50), WayRule(max_cost_bps=50), {}, ""),
    "cost unknown": (lightning(), WayRule(max_cost_bps=0), {}, ""),
    "several": (lightning(is_unwell=True, most_sat=1), None, {}, "above_maximum"),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_reason_is_said_by_its_code_and_its_edge_is_still_offered(name: str) -> None:
    standing, rule, asked, code = TABLE[name]
    assert said(standing, rule, **asked) == code


def test_every_code_has_a_row_in_the_table() -> None:
    assert {code for *_, code in TABLE.values()} == {"", *CODES}


def test_a_small_amount_goes_over_lightning_alone() -> None:
    rules: Offering = {"bitcoin": WayRule(least_sat=20_000)}
    assert choose((CHAIN, lightning()), rules, sat=SAT) == (
        Chosen(way="bitcoin", code="below_minimum"),
        Chosen(way="lightning"),
    )


def test_where_every_way_is_refused_the_first_is_offered_all_the_same() -> None:
    rules: Offering = {"bitcoin": WayRule(least_sat=20_000)}
    chosen = choose((CHAIN, lightning(is_unwell=True)), rules, sat=SAT)
    assert chosen == (Chosen(way="bitcoin"), Chosen(way="lightning", code="rail_unwell"))


def test_the_lower_place_is_shown_first_and_else_the_order_they_stand_in() -> None:
    assert [c.way for c in choose((CHAIN, lightning()), {}, sat=SAT)] == ["bitcoin", "lightning"]
    rules: Offering = {"bitcoin": WayRule(place=1)}
    assert [c.way for c in choose((CHAIN, lightning()), rules, sat=SAT)] == ["lightning", "bitcoin"]


@pytest.mark.parametrize(
    "written",
    [{"lightning": {"least_sat": 10, "most_sat": 9}}, {"lightning": {"least_sat": "10"}}, {"smoke": {}}],
    ids=["never offered", "a text", "no such way"],
)
def test_a_table_that_makes_no_sense_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Offering).validate_python(written)
