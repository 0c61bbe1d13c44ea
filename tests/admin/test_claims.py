"""A client claims something: support enters it, it goes through stages with deadlines, and how it ended is in the books."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.books.keep_books import refresh_gauges
from bridge.core.claims import OPEN, OUTCOMES, ClaimRules
from bridge.core.errors import Conflict, Refused
from bridge.desk.claims import advance_claim, close_claim, list_claims, open_claim, show_claim
from bridge.desk.evidence import evidence
from bridge.desk.explain import explain
from bridge.desk.resolve_review import list_reviews
from tests.admin.office import Office

WHO = {"actor": "sam", "reason": "the client called"}
DAY = 86_400


def entered(office: Office, billing_payment_id: str = "1001") -> dict:
    invoice = office.site.open(billing_payment_id, customer={"id": "42"})
    answer = office.fill(
        "sam", f"/invoices/{invoice['id']}", "/claims", said="I paid on Monday", txid="ab" * 32, claimed_sat="15 000"
    )
    assert answer.status_code == 303, answer.text
    [claim] = list_claims(office.bridge, match={"invoice_id": invoice["id"]})
    assert answer.location == f"/admin/invoices/{invoice['id']}?done=claim_opened"
    assert not [each for each in office.forms("sam", f"/invoices/{invoice['id']}") if each.endswith("/claims")]
    return claim


def test_a_claim_goes_from_the_clients_words_to_an_answer_on_the_desk(office: Office):
    claim = entered(office)
    assert (claim["stage"], claim["claimed_sat"], claim["owner"], claim["customer_id"]) == (
        "inquiry",
        15_000,
        "sam",
        "42",
    )
    text = office.see("sam", f"/claims/{claim['id']}").replace("\xa0", " ")
    assert "I paid on Monday" in text and "15,000" in text and "asked back" in text
    assert claim["id"] in office.see("vic", f"/invoices/{claim['invoice_id']}")
    assert claim["id"] in office.see("vic", "/claims?stage=inquiry")
    assert claim["id"] not in office.see("vic", "/claims?stage=closed")
    [item] = list_reviews(office.bridge, match={"kind": "claim", "state": "open"}, limit=5)
    assert item["invoice_id"] == claim["invoice_id"] and "I paid on Monday" in office.see(
        "vic", f"/reviews/{item['id']}"
    )
    assert office.forms("vic", f"/claims/{claim['id']}").keys() == {"/admin/logout"}
    assert office.fill("fay", f"/claims/{claim['id']}", "/advance", stage="evidence").status_code == 303
    later = show_claim(office.bridge, claim["id"])
    assert (later["stage"], later["owner"]) == ("evidence", "fay")
    answer = office.fill(
        "fay", f"/claims/{claim['id']}", "/close", outcome="declined", reason="it went to another shop"
    )
    assert answer.status_code == 303
    ended = show_claim(office.bridge, claim["id"])
    assert (ended["stage"], ended["outcome"], ended["answer"]) == ("closed", "declined", "it went to another shop")
    assert ended["due_at"] is None and ended["closed_by"] == "fay"
    assert list_reviews(office.bridge, match={"kind": "claim", "state": "open"}, limit=5) == []
    told = "\n".join(explain(office.bridge, claim["invoice_id"], lang="en"))
    assert "entered a claim" in told and "it went to another shop" in told
    assert evidence(office.bridge, claim["invoice_id"])["claims"][0]["said"] == "I paid on Monday"
    assert office.site.api("GET", f"/v1/invoices/{claim['invoice_id']}").json["status"] == "new"


def test_each_stage_has_its_deadline_and_a_claim_only_goes_on(office: Office):
    claim = entered(office)
    rules, bridge = ClaimRules(), office.bridge
    for stage in OPEN[1:]:
        office.world.clock.advance(rules.inquiry_seconds + 1)
        assert show_claim(bridge, claim["id"])["is_overdue"] == (stage == "dispute")
        claim = advance_claim(bridge, claim["id"], stage=stage, **WHO)
        due = bridge.clock() + timedelta(seconds=getattr(rules, f"{stage}_seconds"))
        assert claim["due_at"] == due.strftime("%Y-%m-%dT%H:%M:%SZ") and not claim["is_overdue"]
    for stage in OPEN:
        with pytest.raises(Refused, match="only goes on"):
            advance_claim(bridge, claim["id"], stage=stage, **WHO)
    close_claim(bridge, claim["id"], outcome="withdrawn", **WHO)
    for late in (lambda: close_claim(bridge, claim["id"], outcome="upheld", **WHO),
                 lambda: advance_claim(bridge, claim["id"], stage="evidence", **WHO)):  # fmt: skip
        with pytest.raises(Conflict, match="closed"):
            late()


def test_the_next_deadline_is_on_the_page_today_and_in_the_metrics(office: Office):
    def due() -> float | None:
        refresh_gauges(office.bridge)
        return office.bridge.metrics.registry.get_sample_value("bridge_claim_due_seconds", {"state": "inquiry"})

    first = entered(office)
    office.world.clock.advance(60)
    second = entered(office, "1002")
    text = office.see("vic", "/")
    assert f'/claims/{first["id"]}"' in text and f'/claims/{second["id"]}"' not in text and "overdue" not in text
    assert due() == ClaimRules().inquiry_seconds - 60
    office.world.clock.advance(DAY)
    assert "overdue" in office.see("ann", "/") and due() == -60
    close_claim(office.bridge, first["id"], outcome="upheld", **WHO)
    assert f'/claims/{second["id"]}"' in office.see("ann", "/") and due() == 0
    advance_claim(office.bridge, second["id"], stage="dispute", **WHO)
    assert due() is None


def test_one_claim_of_an_invoice_is_open_at_a_time(office: Office):
    claim = entered(office)
    with pytest.raises(Conflict, match="open already"):
        open_claim(office.bridge, claim["invoice_id"], said="again", **WHO)
    close_claim(office.bridge, claim["id"], outcome="upheld", **WHO)
    assert open_claim(office.bridge, claim["invoice_id"], said="again", **WHO)["stage"] == "inquiry"


@pytest.mark.parametrize(
    ("said", "invoice", "actor", "code"),
    [
        (" ", "", "sam", "claim_said_nothing"),
        ("x", "inv_0", "sam", "unknown_invoice"),
        ("x", "", "vic", "forbidden"),
        ("x", "", "nobody", "unknown_operator"),
    ],
)
def test_what_is_no_claim_is_refused(small_office: Office, said: str, invoice: str, actor: str, code: str):
    opened = small_office.site.open("1")["id"]
    with pytest.raises(Refused) as refused:
        open_claim(small_office.bridge, invoice or opened, said=said, actor=actor, reason="r")
    assert refused.value.code == code
    with pytest.raises(Refused):
        show_claim(small_office.bridge, "clm_0")


def test_claims_are_a_kind_of_book_as_the_golden_file_has_it(office: Office):
    office.world.clock.now = office.world.clock.now.replace(microsecond=0)
    claim = entered(office)
    office.world.clock.advance(DAY)
    advance_claim(office.bridge, claim["id"], stage="dispute", **WHO)
    close_claim(office.bridge, claim["id"], outcome=OUTCOMES[0], actor="sam", reason="=1+1 found it; credited")
    today = office.bridge.calendar.day_of(office.bridge.clock())
    path = f"/admin/exports/file?kind=claims&file=spreadsheet-ru&from={today - timedelta(days=1)}&to={today}"
    response = office.client("vic").get(path)
    assert response.status_code == 200, response.text
    text = response.data.decode("utf-8-sig").replace(claim["id"], "CLAIM").replace(claim["invoice_id"], "INVOICE")
    golden = Path(__file__).with_name("claims.golden.csv").read_text(encoding="utf-8")
    assert text.splitlines() == golden.splitlines()
    [row] = csv.DictReader(io.StringIO(text, newline=""), delimiter=";")
    assert row["stage"] == "closed" and row["answer"].startswith("'=")
    lines = office.client("vic").get(path.replace("spreadsheet-ru", "jsonl")).text.splitlines()
    assert json.loads(lines[0])["claimed_sat"] == 15_000
    assert "Claims" in office.see("vic", "/exports")
