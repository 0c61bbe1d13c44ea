"""The API as the module in the billing system uses it."""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bridge.core.policy import Policy, Rule
from tests.builders import PUBLIC_URL, build_merchant
from tests.fakes import START
from tests.web.conftest import build_site


def test_an_order_becomes_an_invoice_with_a_price_an_address_and_a_page(site):
    response = site.api("POST", "/v1/invoices", site.order(), key="bm-1001-a")
    invoice = response.json
    assert (response.status_code, response.mimetype) == (201, "application/json")
    assert (invoice["amount"], invoice["currency"], invoice["status"]) == ("10.00", "USD", "new")
    assert invoice["address"].startswith("tb1q")
    assert invoice["quote"]["sources"] == ["alpha", "beta", "gamma"]
    assert invoice["payment_url"].startswith(f"{PUBLIC_URL}/pay/")
    assert "Idempotent-Replayed" not in response.headers


def test_the_same_key_and_body_get_the_first_answer_again_to_the_byte(site):
    first = site.api("POST", "/v1/invoices", site.order(), key="bm-1001-a")
    site.pay(first.json, 1_000)
    second = site.api("POST", "/v1/invoices", site.order(), key="bm-1001-a")
    assert (second.status_code, second.data) == (first.status_code, first.data)
    assert second.headers["Idempotent-Replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(site):
    site.api("POST", "/v1/invoices", site.order(), key="bm-1001-a")
    response = site.api("POST", "/v1/invoices", site.order(amount="11.00"), key="bm-1001-a")
    assert (response.status_code, response.json["code"]) == (422, "idempotency_mismatch")


def test_another_key_for_the_same_billing_payment_finds_the_same_invoice(site):
    first = site.api("POST", "/v1/invoices", site.order(), key="bm-1001-a").json
    second = site.api("POST", "/v1/invoices", site.order(), key="bm-1001-b")
    assert (second.status_code, second.json["id"], second.json["address"]) == (200, first["id"], first["address"])


def test_twelve_parallel_creates_make_one_invoice_and_one_address(site):
    def create(number):
        return site.api("POST", "/v1/invoices", site.order(), key=f"bm-1001-{number}")

    with ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(create, range(12)))
    assert sorted(r.status_code for r in responses) == [200] * 11 + [201]
    assert len({(r.json["id"], r.json["address"]) for r in responses}) == 1


def test_a_changed_amount_with_money_in_is_a_conflict(site):
    invoice = site.open()
    site.pay(invoice, 1_000)
    response = site.api("POST", "/v1/invoices", site.order(amount="12.00"), key="bm-1001-b")
    assert (response.status_code, response.json["code"]) == (409, "amount_changed")


def test_without_a_price_the_module_is_told_to_come_back(site):
    site.world.rates.prices.clear()
    response = site.api("POST", "/v1/invoices", site.order(), key="bm-1001-a")
    assert (response.status_code, response.json["code"]) == (503, "price_unavailable")
    assert int(response.headers["Retry-After"]) > 0


def test_a_gateway_that_answers_nonsense_is_trouble_of_ours_not_of_the_caller(site):
    site.world.wallet.fails_with = RuntimeError("connection reset by secret-host.internal")
    response = site.api("POST", "/v1/invoices", site.order(), key="bm-1001-a")
    assert (response.status_code, response.json["code"]) == (503, "internal")
    assert "secret-host" not in response.text and "Traceback" not in response.text
    assert re.fullmatch("[0-9a-f]{32}", response.json["trace"])


def test_one_invoice_can_be_read_and_only_by_its_merchant(site):
    invoice = site.open()
    assert site.api("GET", f"/v1/invoices/{invoice['id']}").json == invoice
    missing = site.api("GET", "/v1/invoices/inv_0123456789abcdef01234567")
    assert (missing.status_code, missing.json["code"]) == (404, "unknown_invoice")


def test_invoices_are_listed_newest_first_and_page_by_page(site):
    made = []
    for number in range(5):
        made.insert(0, site.open(str(number + 1))["id"])
        site.world.clock.advance(1)
    first = site.api("GET", "/v1/invoices?limit=3").json
    rest = site.api("GET", f"/v1/invoices?limit=3&cursor={first['next_cursor']}").json
    assert [i["id"] for i in first["invoices"] + rest["invoices"]] == made
    assert rest["next_cursor"] is None


def test_invoices_are_found_by_billing_payment_and_by_status(site):
    site.open("1")
    wanted = site.open("2")
    found = site.api("GET", "/v1/invoices?billing_payment_id=2&status=new").json["invoices"]
    assert [i["id"] for i in found] == [wanted["id"]]
    assert site.api("GET", "/v1/invoices?status=settled").json["invoices"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1e3", "limit"),
        ("limit=501", "limit"),
        ("status=paid", "status"),
        ("billing_payment_id=1;rm -rf", "billing_payment_id"),
        ("unknown=1", "unknown"),
    ],
)
def test_a_query_that_makes_no_sense_is_named(lite_site, query, field):
    response = lite_site.api("GET", f"/v1/invoices?{query}")
    assert (response.status_code, response.json["field"]) == (422, field)


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=1.5", "limit=9999", "after=99999999999999999999"])
def test_a_feed_position_that_makes_no_sense_is_named(lite_site, query):
    assert lite_site.api("GET", f"/v1/events?{query}").status_code == 422


def test_the_feed_starts_empty_and_says_where_to_go_on(site):
    assert site.api("GET", "/v1/events").json == {"events": [], "next_after": 0, "has_more": False}


def test_a_cancelled_billing_payment_is_noted(site):
    invoice = site.open()
    path = f"/v1/invoices/{invoice['id']}/billing-changes"
    response = site.api("POST", path, {"change": "cancelled", "billing_status": 9})
    assert (response.status_code, response.json["reason"]) == (200, "billing_cancelled")
    assert site.api("POST", path, {"change": "restored"}).json["reason"] == "awaiting_payment"


@pytest.mark.parametrize(
    "body", [{"change": "paid"}, {}, {"change": "amount", "amount": 12.0}, {"change": "cancelled", "extra": 1}]
)
def test_a_billing_change_that_makes_no_sense_is_refused(lite_site, body):
    invoice = lite_site.open()
    response = lite_site.api("POST", f"/v1/invoices/{invoice['id']}/billing-changes", body)
    assert response.status_code == 422


def test_the_check_answers_signed_with_the_nonce(site):
    response = site.api("POST", "/v1/check", {"currency": "RUB", "nonce": "abc123"})
    assert response.json == {
        "merchant": "shop",
        "network": "test",
        "currencies": ["USD", "RUB", "JPY"],
        "surcharges": [
            {"tier": "default", "currency": currency, "risk_bps": 100, "fee": fee}
            for currency, fee in (("USD", "0.00"), ("RUB", "0.00"), ("JPY", "0"))
        ],
        "time": "2026-03-14T12:00:00Z",
        "nonce": "abc123",
    }
    message_id = response.headers["webhook-id"]
    signed = hashlib.sha256(b"shop" + message_id.encode() + response.data).hexdigest()
    assert response.headers["webhook-signature"] == signed
    assert response.headers["webhook-timestamp"] == str(int(START.timestamp()))


def test_the_check_tells_what_each_tier_pays_besides(sqlite_url):
    default = Rule(risk_bps=150, fee_buffer_minor={"USD": 25})
    policy = Policy(default=default, tiers={"trusted": Rule(name="trusted", risk_bps=0)})
    site = build_site(sqlite_url, bridge={"merchants": {"shop": build_merchant(policy=policy)}})
    told = site.api("POST", "/v1/check", {"nonce": "n"}).json["surcharges"]
    assert [(row["tier"], row["risk_bps"], row["fee"]) for row in told if row["currency"] == "USD"] == [
        ("default", 150, "0.25"),
        ("trusted", 0, "0.00"),
    ]


def test_the_check_may_leave_the_currency_out_but_not_name_an_unknown_one(lite_site):
    assert lite_site.api("POST", "/v1/check", {"nonce": "n"}).status_code == 200
    refused = lite_site.api("POST", "/v1/check", {"currency": "EUR", "nonce": "n"})
    assert (refused.status_code, refused.json["code"], refused.json["field"]) == (
        422,
        "unsupported_currency",
        "currency",
    )
    former = lite_site.api("POST", "/v1/check", {"currency": "BGN", "nonce": "n"})
    assert (former.status_code, former.json["code"]) == (422, "former_currency")
    assert "replaced by EUR on 2026-01-01" in former.json["detail"]


def test_the_answer_kept_for_a_key_is_the_text_that_was_sent(lite_site):
    response = lite_site.api("POST", "/v1/invoices", lite_site.order(description="Сервер «Старт»"), key="k")
    assert json.loads(response.data)["billing_payment_id"] == "1001"
    lite_site.world.clock.advance(timedelta(hours=1).total_seconds())
    assert lite_site.api("POST", "/v1/invoices", lite_site.order(description="Сервер «Старт»"), key="k").data == (
        response.data
    )
