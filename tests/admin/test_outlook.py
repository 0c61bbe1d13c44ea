"""Before a person rules they read whose money it is, how much of it counts, and what each choice would do."""

import re
from typing import Any

import pytest

from bridge.core.kinds import RULINGS, review_of
from bridge.desk.outlook import Effect, Outlook, outlook
from bridge.desk.resolve_review import list_reviews
from tests.admin.office import Office


def asked(office: Office, kind: str) -> str:
    [item] = list_reviews(office.bridge, match={"kind": kind, "state": "open"}, limit=5)
    return str(item["id"])


def seen(office: Office, kind: str) -> Outlook:
    found = outlook(office.bridge, asked(office, kind))
    assert found is not None
    sat = found.sat
    assert sat["due"] == sat["counted"] + sat["missing"]
    assert sat["received"] == sat["counted"] + sat["unpriced"] + sat["excess"]
    assert set(found.effects) == set(review_of(kind).rulings)
    return found


def late(office: Office, *, part: tuple[int, int]) -> dict[str, Any]:
    invoice = office.site.open("2001", customer={"id": "42", "email": "bob@example.com"})
    office.world.clock.advance(86_400 + 7_300)
    office.site.pay(invoice, invoice["remaining_sat"] * part[0] // part[1], confirmations=6)
    return invoice


def test_late_money_that_covers_is_told_as_paid_or_owed(office: Office):
    due_sat = late(office, part=(1, 1))["remaining_sat"]
    found = seen(office, "late")
    assert found.sat == {
        "due": due_sat, "received": due_sat, "confirmed": due_sat, "counted": 0, "unpriced": due_sat, "excess": 0,
        "missing": due_sat,
    }  # fmt: skip
    assert found.effects == {
        "accept_late": Effect(code="paid"),
        "ask_remainder": Effect(code="paid"),
        "refund": Effect(code="refund", sat=due_sat),
        "mark_settled": Effect(code="mark_settled", sat=due_sat),
        "mark_invalid": Effect(code="mark_invalid", sat=due_sat),
    }
    text = office.see("fay", f"/reviews/{asked(office, 'late')}").replace("\xa0", " ")
    assert "bob@example.com" in text and "customer=42" in text
    assert "Of that has no price yet" in text and "Billing is told: 10.00 USD paid." in text
    assert re.search(rf"0\.000\d+ BTC \({due_sat:,} sat, about 10\.\d\d USD\) is owed to the client", text)


@pytest.mark.parametrize(("parts", "code"), [((1, 2), "refused"), ((3, 2), "paid_over")])
def test_accepting_late_money_is_forecast_as_it_then_happens(office: Office, parts: tuple[int, int], code: str):
    invoice = late(office, part=parts)
    effect, review = seen(office, "late").effects["accept_late"], asked(office, "late")
    assert effect.code == code and effect.sat > 0
    answer = office.fill("fay", f"/reviews/{review}", "/resolve", decision="accept_late")
    after = office.site.api("GET", f"/v1/invoices/{invoice['id']}").json
    if code == "refused":
        assert answer.status_code == 422 and after["status"] == "expired"
    else:
        assert after["status"] == "settled"
        assert after["received_sat"] - effect.sat <= invoice["remaining_sat"]


def test_the_rest_that_would_be_asked_for_is_what_is_asked_for(office: Office):
    invoice = late(office, part=(1, 2))
    review, effect = asked(office, "late"), seen(office, "late").effects["ask_remainder"]
    assert office.fill("fay", f"/reviews/{review}", "/resolve", decision="ask_remainder").status_code == 303
    after = office.site.api("GET", f"/v1/invoices/{invoice['id']}").json
    assert effect == Effect(code="asks", sat=after["remaining_sat"])


def test_what_came_of_a_ruling_is_told_without_codes(office: Office):
    late(office, part=(1, 1))
    review = asked(office, "late")
    office.fill("fay", f"/reviews/{review}", "/resolve", decision="accept_late")
    for lang in ("en", "ru"):
        text = office.see("fay", f"/reviews/{review}?lang={lang}")
        outcome = text.split("<h2>")[-1].split("</section>")[0]
        assert not re.search(r"accept_late|invoice\.settled|>settle<|capture|\[\]", outcome), outcome
    assert "the payment" in office.see("fay", f"/reviews/{review}?lang=en")


@pytest.mark.parametrize("lang", ["en", "ru"])
def test_every_effect_has_words(small_office: Office, lang: str):
    from bridge.language import languages

    words = languages().whole[lang].section("desk.effects")
    codes = {"paid", "paid_over", "refused", "waits", "asks", "nothing"}
    final = {"refund", "mark_settled", "mark_invalid"}
    payouts = {code for code, ruling in RULINGS.items() if ruling.is_about_payout}
    assert set(words) == codes | final | {f"{each}_none" for each in final} | payouts
