"""The daily work: a late payment decided, a refund by two people, a parked message sent again, a sweep approved."""

import re
from contextlib import closing, contextmanager
from datetime import timedelta
from fractions import Fraction

import pytest
from sqlalchemy import event

from bridge.books.reconcile import step
from bridge.core.errors import Refused, Unavailable
from bridge.core.evidence import PricePart
from bridge.desk.desk import invoice_dossier, series
from bridge.desk.explain import explain
from bridge.invoices.inbox import list_events, receive_callback, send_test_event
from bridge.payouts.treasury import read_balances
from bridge.people.operators import change_operator
from bridge.rails.subtc import following
from tests.admin.office import COLD, PAYER, Office, build_office, refusal
from tests.builders import gateway_rail
from tests.fakes import FakeMoney, FakeWallet, answer

HUNDRED = {"amount": "100.00"}


def one_review(office: Office) -> str:
    (found,) = set(re.findall(r"/admin/reviews/(rev_\w+)", office.see("vic", "/reviews")))
    return str(found)


def test_a_late_payment_is_resolved(office):
    invoice = office.late()
    review = one_review(office)
    seen = office.see("fay", f"/reviews/{review}")
    assert "Late money is valued at today's price" in seen and invoice["id"] in seen
    response = office.fill("fay", f"/reviews/{review}", "/resolve", decision="accept_late", reason="the client called")
    assert response.status_code == 303
    assert "Decided; the consequences follow." in office.see("fay", f"/reviews/{review}?done=resolved")
    story = office.see("vic", f"/invoices/{invoice['id']}")
    assert "fay" in story and "the client called" in story and "settled" in story
    assert refusal(office.post("fay", f"/admin/reviews/{review}/resolve", decision="refund", reason="x"))[1] == (
        "review_resolved"
    )


def test_the_parts_of_a_cross_rate_are_on_the_page_of_the_invoice_and_of_its_review(small_office):
    now = small_office.bridge.clock()
    cbr = {"source": "cbr", "pair": "USD/RUB", "observed_at": now - timedelta(days=2), "max_age_seconds": 345_600}
    spot = {"source": "spot", "pair": "BTC/USD", "observed_at": now}
    prices = (Fraction("78.2267"), Fraction(83_091))
    small_office.world.rates.parts = tuple(
        PricePart(price=p, **more) for p, more in zip(prices, (cbr, spot), strict=True)
    )
    invoice = small_office.late()
    page = small_office.see("vic", f"/invoices/{invoice['id']}")
    assert "alpha (USD/RUB 78.2267 by cbr, " in page and "× BTC/USD 83,091 by spot, " in page
    assert '"pair": "USD/RUB", "price": "78.2267"' in small_office.see("fay", f"/reviews/{one_review(small_office)}")


def test_support_may_not_credit_money_by_their_word(small_office):
    small_office.late()
    review = one_review(small_office)
    assert re.search(r'value="accept_late" required disabled', small_office.see("sam", f"/reviews/{review}"))
    response = small_office.post(
        "sam", f"/admin/reviews/{review}/resolve", decision="accept_late", reason="asked nicely"
    )
    assert refusal(response) == (403, "forbidden")
    assert one_review(small_office) == review


def test_a_manual_mark_needs_two_people(office):
    invoice = office.late()
    page = f"/reviews/{one_review(office)}"
    seen = office.see("fay", page)
    assert "counts as paid whatever has arrived" in seen and "Somebody else must approve it." in seen
    proposed = office.fill("fay", page, "/resolve", decision="mark_settled", reason="a long-standing client")
    assert proposed.location.endswith("?done=proposed")
    assert "Manual marks that wait for an approval" in office.see("ann", "/")
    waiting = office.see("ann", "/reviews")
    assert "Manual marks that wait for an approval" in waiting and "a long-standing client" in waiting
    shown = office.see("ann", page)
    assert "Missing, and given up" in shown and "the billing system is told to mark it paid" in shown
    assert "/approve" not in office.see("fay", page)
    assert office.fill("ann", page, "/approve", reason="I asked the client").status_code == 303
    story = office.see("vic", f"/invoices/{invoice['id']}")
    assert "fay proposed to count the invoice as paid" in story and "I asked the client" in story
    assert "settled" in story and "Manual marks that wait" not in office.see("ann", "/reviews")


def test_who_proposed_a_mark_is_refused_on_the_page_even_in_another_role(office):
    office.late()
    mark = office.mark(one_review(office))
    assert refusal(office.post("fay", f"/admin/marks/{mark}/approve", reason="quick")) == (403, "forbidden")
    change_operator(office.bridge, "fay", role="approver", actor="root", reason="new job")
    office.clients.pop("fay")
    assert "somebody else must approve it" in office.see("fay", f"/reviews/{one_review(office)}")
    assert refusal(office.post("fay", f"/admin/marks/{mark}/approve", reason="quick")) == (403, "same_person")
    assert office.fill("bob", f"/reviews/{one_review(office)}", "/reject", reason="not so").status_code == 303
    assert refusal(office.post("ann", f"/admin/marks/{mark}/approve", reason="late"))[1] == "not_waiting"


def test_an_approver_gives_a_payer_time_and_the_payer_sees_the_end(office):
    invoice = office.site.open("88")
    page = f"/invoices/{invoice['id']}"
    assert "/grace" not in office.see("fay", page)
    assert refusal(office.post("fay", f"/admin{page}/grace", reason="please")) == (403, "forbidden")
    until = (office.bridge.clock() + timedelta(days=20)).date()
    response = office.fill("ann", page, "/grace", until=until.isoformat(), reason="a client for years")
    assert response.status_code == 303, response.text
    seen = office.see("vic", page)
    assert "given" in seen and "a client for years" in seen
    paying = office.site.page(invoice).text
    told = f"{until.day} {until:%B %Y}"
    assert "You have time to pay until" in paying and told in paying.replace("\u00a0", " ")
    assert refusal(office.post("ann", f"/admin{page}/grace", reason="more"))[1] == "grace_given"


def test_a_callback_is_replayed_with_a_reason(office):
    event = office.ring(office.site.open("77"))
    response = office.fill("sam", f"/inbox/{event}", "/replay", reason="the client asked")
    assert response.status_code == 303, response.text
    assert "the client asked" in office.see("vic", "/audit?action=replayed")


def replayed(office: Office, event: str) -> str:
    """What the page says of a replay."""
    return office.see("sam", office.fill("sam", f"/inbox/{event}", "/replay").location.removeprefix("/admin"))


def test_a_replay_says_what_came_of_it(small_office):
    office = small_office
    invoice = office.site.open("77")
    event = office.ring(invoice)
    assert "we looked, and nothing has changed" in replayed(office, event)
    office.world.money.pay(invoice["address"], invoice["remaining_sat"], confirmations=6)
    assert "the invoice has changed" in replayed(office, event)
    office.world.wallet.fails_with = office.world.chain.fails_with = Unavailable("provider_unavailable", "Away.")
    assert "Neither gateway nor chain answered" in replayed(office, event)


def test_a_callback_with_a_wrong_signature_is_not_offered_for_replay(small_office):
    office = small_office
    invoice = office.site.open("77")
    token = office.bridge.callback_token(invoice["id"])
    with pytest.raises(Refused):
        receive_callback(office.bridge, token=token, headers={}, body=b"{}", signature="invalid")
    (event,) = re.findall(r"/admin/inbox/(in:\d+)", office.see("sam", f"/invoices/{invoice['id']}"))
    seen = office.see("sam", f"/inbox/{event}")
    assert "cannot be replayed" in seen and "/replay" not in seen
    answer = office.post("sam", f"/admin/inbox/{event}/replay", reason="by hand")
    assert "Not replayed" in office.see("sam", answer.location.removeprefix("/admin"))


@pytest.mark.parametrize("event", ["in:", "in:x", "in:٣", "in:-1", "in:1" + "0" * 18, "in:" + "9" * 30])
def test_what_is_no_callbacks_id_is_no_event(small_office, event):
    assert refusal(small_office.client("vic").get(f"/admin/inbox/{event}")) == (404, "unknown_event")


def test_a_refund_needs_two_people(office):
    assert "The gateway holds the keys" in office.see("vic", "/payouts")
    invoice = office.settled(**HUNDRED)
    payout = office.propose(invoice)
    page = f"/payouts/{payout}"
    seen = office.see("ann", page)
    assert PAYER in seen and "Approve" in seen and "because I looked" in seen
    assert office.fill("ann", page, "/approve", reason="checked with the client").status_code == 303
    assert "approved" in office.see("vic", page) and "checked with the client" in office.see("vic", page)
    audit = office.see("vic", "/audit?action=payout_approved")
    assert "ann" in audit and "checked with the client" in audit


def test_who_approves_under_an_unknown_fee_reads_that_it_is_unknown(office):
    office.world.wallet.fee_bps = None
    invoice = office.settled(**HUNDRED)
    payout = office.propose(invoice)
    seen = office.see("ann", f"/payouts/{payout}")
    assert "The gateway does not name its fee. You approve that this sum leaves the wallet" in seen
    assert "unknown: the gateway does not name it" in seen
    most = f"at most {invoice['remaining_sat']:,}"
    assert most in seen and most in office.see("vic", "/payouts")
    assert most in office.see("vic", f"/invoices/{invoice['id']}")
    assert office.fill("ann", f"/payouts/{payout}", "/approve").status_code == 303


def test_a_sweep_under_an_unknown_fee_is_proposed_and_approved_as_such(office):
    office.world.wallet.fee_bps = None
    office.settled(**HUNDRED)
    response = office.fill("fay", "/treasury", "/sweep", reason="too much in one place")
    assert "whoever approves a sweep now approves it with an unknown fee" in office.see("fay", "/treasury")
    swept = office.see("bob", response.location.removeprefix("/admin"))
    assert "You approve that this sum leaves the wallet" in swept


def test_who_proposed_may_not_approve_even_in_another_role(office):
    payout = office.propose(office.settled(**HUNDRED))
    assert refusal(office.post("fay", f"/admin/payouts/{payout}/approve", reason="quick")) == (403, "forbidden")
    change_operator(office.bridge, "fay", role="approver", actor="root", reason="new job")
    office.clients.pop("fay")
    seen = office.see("fay", f"/payouts/{payout}")
    assert "somebody else must approve it" in seen and "/approve" not in seen
    fields = dict(office.forms("ann", f"/payouts/{payout}")[f"/admin/payouts/{payout}/approve"], reason="quick")
    response = office.post("fay", f"/admin/payouts/{payout}/approve", **fields | {"csrf_token": "csrf-of-fay"})
    assert refusal(response) == (403, "same_person")
    assert "waits for approval" in office.see("vic", f"/payouts/{payout}")


def test_what_changed_after_it_was_shown_is_not_approved(small_office):
    payout = small_office.propose(small_office.settled(**HUNDRED), destination="")
    fields = {"destination": "", "gross_sat": "1", "reason": "checked"}
    assert refusal(small_office.post("ann", f"/admin/payouts/{payout}/approve", **fields))[1] == "payout_changed"
    assert small_office.fill("sam", f"/payouts/{payout}", "/address", destination=PAYER).status_code == 303
    assert small_office.fill("ann", f"/payouts/{payout}", "/approve").status_code == 303


def test_a_double_click_is_one_refund(office):
    invoice = office.settled(**HUNDRED)
    page = f"/invoices/{invoice['id']}"
    fields = office.forms("fay", page)[f"/admin{page}/refund"]
    wanted = fields | {"variant": "paid_sat", "destination": PAYER, "reason": "twice"}
    first, second = (office.post("fay", f"/admin{page}/refund", **wanted) for _ in range(2))
    assert first.location == second.location


def test_a_parked_message_is_sent_again(office):
    delivery = office.parked()
    assert office.fill("sam", f"/deliveries/{delivery}", "/redeliver", reason="their server is back").status_code == 303
    office.deliver()
    assert delivery in office.delivery_ids("delivered")
    assert "their server is back" in office.see("vic", "/audit?action=redelivered")


def test_a_test_event_goes_out(small_office):
    assert small_office.fill("sam", "/deliveries", "/test", merchant="shop", reason="new server").status_code == 303
    small_office.deliver()
    assert b'"type": "test"' in small_office.world.billing.told[-1][2].replace(b'"type":"', b'"type": "')


def test_a_sweep_is_proposed_and_approved_by_another(office):
    office.settled(**HUNDRED)
    response = office.fill("fay", "/treasury", "/sweep", reason="too much in one place")
    payout = response.location.rpartition("/")[2].partition("?")[0]
    assert COLD in office.see("ann", f"/payouts/{payout}")
    assert office.fill("bob", f"/payouts/{payout}", "/approve").status_code == 303
    assert "approved" in office.see("vic", f"/payouts/{payout}")
    assert payout in office.see("vic", "/treasury")


@pytest.mark.parametrize(("lang", "said"), [("en", "former, hot: only read"), ("ru", "прежний, ")])
def test_a_former_wallet_stands_on_the_treasury_page_and_nothing_is_done_with_it(sqlite_url, lang, said):
    money = FakeMoney()
    money.pay("tb1qold", 70_001, confirmations=3)
    rails = (gateway_rail(FakeWallet(FakeMoney())), following(FakeWallet(money), "wt_former"))
    office = build_office(sqlite_url, bridge={"rails": rails})
    with closing(office.bridge.store):
        read_balances(office.bridge, owner="w1")
        seen = office.see("fay", f"/treasury?lang={lang}")
        assert said in seen and "wt_former" in seen and "70" in seen and "001" in seen
        assert "wt_former" in office.see("root", "/modes")
        assert '<option value="hot:' not in seen and "/admin/treasury/sweep" in str(office.forms("fay", "/treasury"))


def test_a_payout_is_stopped_by_either_side(small_office):
    for name, number in (("ann", "11"), ("fay", "12")):
        payout = small_office.propose(small_office.settled(number, **HUNDRED))
        assert small_office.fill(name, f"/payouts/{payout}", "/reject", reason="a mistake").status_code == 303
        assert "rejected" in small_office.see("vic", f"/payouts/{payout}")


def test_the_switches_are_turned_with_a_reason(small_office):
    assert (
        small_office.fill("root", "/modes", "/set", mode="read_only", scope="bridge", reason="maintenance").status_code
        == 303
    )
    seen = small_office.see("vic", "/modes")
    assert "read only" in seen and "maintenance" in seen and "root" in seen
    response = small_office.post("root", "/admin/modes/set", scope="wallet:other", mode="paused", reason="x")
    assert refusal(response)[1] == "unknown_scope"


def test_a_reconciliation_shows_how_far_it_is(office):
    office.settled(**HUNDRED)
    response = office.fill("fay", "/reconciliation", "/run", days="7", reason="month end")
    run = response.location.partition("?")[0].removeprefix("/admin")
    assert 'http-equiv="refresh"' in office.see("vic", run)
    again = office.fill("ann", "/reconciliation", "/run", days="7", reason="me too")
    assert again.location == response.location
    for _ in range(10):
        if step(office.bridge, run.rpartition("/")[2]).is_over:
            break
    seen = office.see("vic", run)
    assert 'http-equiv="refresh"' not in seen and "all agree" in seen


def test_the_day_adds_up_on_the_page(small_office):
    small_office.settled(**HUNDRED)
    seen = small_office.see("vic", "/")
    assert seen.count(">no<") == 0 and seen.count('class="tag tone-good"') >= 3


@contextmanager
def statements_of(bridge, asked):
    """Appends each statement with the earliest time among its values, 0 without one."""

    def note(_connection, _cursor, statement, values, *_rest):
        numbers = values.values() if isinstance(values, dict) else values
        times = [value for value in numbers if isinstance(value, int) and value > 10**15]
        asked.append((" ".join(statement.split()), min(times, default=0)))

    event.listen(bridge.store.engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(bridge.store.engine, "before_cursor_execute", note)


def test_the_drawn_days_are_what_happened(office):
    office.world.clock.advance(3 * 86_400)
    invoice = office.site.open("1", **HUNDRED)
    office.site.pay(invoice, invoice["remaining_sat"])
    office.world.clock.advance(600)
    office.world.money.mine(6)
    office.site.look(invoice)
    office.world.billing.answers.append(answer("retry", 503))
    office.deliver()
    office.world.clock.advance(60)
    office.deliver()
    *before, today = series(office.bridge)
    assert len(before) == 13 and {day.settled + day.tries + day.hot_sat for day in before} == {0}
    assert (today.settled, today.lag_seconds, today.tries, today.tries_good) == (1, 600, 2, 1)
    assert today.settled_sat == today.hot_sat == invoice["remaining_sat"]


def test_days_that_are_over_are_counted_once_and_today_each_time(office):
    def settle(name):
        invoice = office.site.open(name, **HUNDRED)
        office.site.pay(invoice, invoice["remaining_sat"], confirmations=6)
        office.site.look(invoice)

    def from_when(page):
        """Since when the page asks the events, and what it shows of each day."""
        asked = []
        with statements_of(office.bridge, asked):
            shown = [day.settled for day in page()]
        return min(at for sql, at in asked if "FROM events JOIN invoices" in sql), shown

    settle("1")
    first, shown = from_when(lambda: series(office.bridge))
    assert shown[-1] == 1
    office.world.clock.advance(2 * 86_400)
    settle("2")
    _, shown = from_when(lambda: series(office.bridge))
    assert shown[-3:] == [1, 0, 1]
    settle("3")
    later, shown = from_when(lambda: series(office.bridge))
    assert shown[-3:] == [1, 0, 2] and later - first >= 14 * 86_400 * 1_000_000


@pytest.mark.parametrize("kind", ["id", "address", "billing_payment_id"])
def test_any_reference_opens_the_invoice(small_office, kind):
    invoice = small_office.settled()
    response = small_office.client("vic").get("/admin/search", query_string={"q": f" {invoice[kind]} "})
    assert response.location == f"/admin/invoices/{invoice['id']}"


def test_long_lists_are_walked_by_cursor_and_nothing_is_left_out(office):
    for number in range(60):
        office.site.open(str(5_000 + number))
        send_test_event(office.bridge, "shop", actor="sam", reason="many")
    for path, pattern in (
        ("/invoices", r"/admin/invoices/(inv_\w+)"),
        ("/deliveries", r"/admin/deliveries/(dlv_\w+)"),
        ("/audit?action=opened", r"/admin/invoices/(inv_\w+)"),
    ):
        first = office.see("vic", path)
        (following,) = re.findall(r'rel="next" href="/admin([^"]+)"', first)
        second = office.see("vic", following)
        pages = [set(re.findall(pattern, text)) for text in (first, second)]
        assert [len(each) for each in pages] == [50, 10] and not pages[0] & pages[1], path
        assert 'rel="next"' not in second


@pytest.mark.parametrize("path", ["/invoices", "/deliveries", "/audit", "/reviews", "/payouts"])
def test_a_broken_cursor_is_said_so(small_office, path):
    assert refusal(small_office.client("vic").get(f"/admin{path}?cursor=%FFx"))[0] == 422


def test_a_figure_of_the_day_leads_to_the_invoices_behind_it(office):
    paid = office.settled("1", **HUNDRED)
    office.world.clock.advance(86_400)
    opened = office.site.open("2")
    seen = office.site.open("3")
    office.site.pay(seen, seen["remaining_sat"])
    text = office.see("vic", "/").replace("\xa0", " ")
    links = dict(re.findall(r'class="card tile" href="(/admin/invoices[^"]+)"><span class="label">([^<]+)<', text))
    found = {
        name: set(re.findall(r'href="/admin/invoices/(inv_\w+)"', office.see("vic", link.removeprefix("/admin"))))
        for link, name in links.items()
    }
    assert found == {
        "Received": {seen["id"]},
        "Confirmed": set(),
        "Settled": set(),
        "Refunded": set(),
        "Under review": set(),
        "Expected": {opened["id"], seen["id"]},
    }
    tile = text.split("Received</span>")[1].split("</a>")[0]
    assert "1 invoice<" in tile and ">10.10 USD<" in tile and f"{seen['remaining_sat']:,}" in tile
    assert "Payouts that wait for an approval</a> <b>0</b>" in text
    yesterday = office.bridge.calendar.day_of(office.bridge.clock()) - timedelta(days=1)
    period = f"from={yesterday}&to={yesterday}"
    assert f"/admin/invoices/{paid['id']}" in office.see("vic", f"/invoices?moved=settled&{period}")
    rows = office.client("vic").get(f"/admin/invoices.csv?file=jsonl&moved=settled&{period}").text.splitlines()
    assert len(rows) == 1 and paid["id"] in rows[0]


def test_a_story_keeps_its_order_where_a_clock_was_put_back(office):
    invoice = office.site.open("1", **HUNDRED)
    office.deliver()
    office.world.clock.advance(-300)
    office.site.pay(invoice, invoice["remaining_sat"], confirmations=6)
    office.deliver()
    told = [each["sequence"] for each in list_events(
        office.bridge, direction="out", match={"invoice_id": invoice["id"]}, limit=10
    )]  # fmt: skip
    assert told == sorted(told, reverse=True) and len(told) > 1
    story = explain(office.bridge, invoice["id"], lang="en")
    heads = (
        "was opened with",
        "Price locked",
        "nothing has arrived",
        "arrived at the address",
        "covered and confirmed",
    )
    places = [next(place for place, line in enumerate(story) if said in line) for said in heads]
    assert places == sorted(places), story
    found = invoice_dossier(office.bridge, invoice["id"])["deliveries"]
    assert [each["sequence"] for each in found] == sorted((each["sequence"] for each in found), reverse=True)


@pytest.mark.parametrize("day", ["0001-01-01", "0001-01-20", "9999-12-30"])
def test_the_first_and_last_days_of_the_calendar_have_their_figures(office: Office, day: str):
    assert f'value="{day}"' in office.see("vic", f"/?day={day}")


def test_a_claim_that_nobody_has_is_not_found(office: Office):
    assert office.client("sam").get("/admin/claims/clm_nope").status_code == 404
