"""Nothing of one merchant is visible to another, over every route that the application serves.

Owns the enumeration; a route that is added without being looked at here fails the first test.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bridge.core.policy import Stage
from tests.security.two_shops import KEYS, TwoShops, two_shops

# The payer's pages open for whoever has their address, merchant or not: 128 bits are the key.
OPEN_BY_ADDRESS = ("/pay/", "/callbacks/", "/static/")
# Operators log in apart from merchants and see all of them.
OPERATORS = "/admin"
# All that a merchant's key is for. Everything else under /v1 is the operators'.
OF_MERCHANTS = {
    ("POST", "/v1/check"),
    ("POST", "/v1/invoices"),
    ("GET", "/v1/invoices"),
    ("GET", "/v1/invoices/<invoice_id>"),
    ("POST", "/v1/invoices/<invoice_id>/billing-changes"),
    ("POST", "/v1/invoices/<invoice_id>/refunds"),
    ("POST", "/v1/billing-statuses"),
    ("GET", "/v1/events"),
    ("GET", "/v1/payouts"),
    ("GET", "/v1/payouts/<payout_id>"),
}


@pytest.fixture
def shops(database_url: str) -> Iterator[TwoShops]:
    with two_shops(database_url) as opened:
        yield opened


def stolen(shops: TwoShops, rule: str) -> str:
    """The path with what belongs to the shop in every place; what belongs to no merchant gets the invoice's id."""
    known = shops.ids("shop")
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda name: known.get(name[1], known["invoice_id"]), rule)


def merchant_routes(shops: TwoShops) -> list[tuple[str, str]]:
    return [
        (method, rule.rule)
        for rule in shops.site.app.url_map.iter_rules()
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
        if not rule.rule.startswith((*OPEN_BY_ADDRESS, OPERATORS))
    ]


def bodies(shops: TwoShops) -> Iterator[dict]:
    """Bodies that name what belongs to the shop, in every way a body can."""
    invoice = shops.invoices["shop"]
    yield {}
    yield {"change": "deleted"}
    yield {"currency": "USD", "nonce": invoice["id"]} | {"merchant": "shop"}
    yield {"amount_sat": 1_000, "reason": "mine", "address": invoice["address"]}
    yield shops.site.order("77")


def said(body: dict | None) -> set[str]:
    return {value for value in (body or {}).values() if isinstance(value, str)}


def test_no_route_shows_or_changes_what_belongs_to_another(shops):
    before = shops.call("shop", "GET", f"/v1/invoices/{shops.invoices['shop']['id']}").json
    routes = merchant_routes(shops)
    assert len(routes) >= 9
    for method, rule in routes:
        queries = ["", "?merchant=shop", "?billing_payment_id=77", "?after=0&limit=500", "?status=settled"]
        for query in queries if method == "GET" else [""]:
            for body in bodies(shops) if method != "GET" else [None]:
                headers = {"Idempotency-Key": "same-key", "X-Merchant": "shop"}
                answer = shops.call("rival", method, stolen(shops, rule) + query, json=body, headers=headers)
                assert "internal" not in answer.text, (method, rule, body)
                # What the rival said itself may come back to it.
                for mark in set(shops.marks("shop")) - said(body):
                    assert mark not in answer.text, (method, rule, query)
    after = shops.call("shop", "GET", f"/v1/invoices/{shops.invoices['shop']['id']}").json
    assert after == before


def test_a_merchants_key_is_good_for_its_own_few_calls_and_opens_nothing_of_the_operators(shops):
    """T-31: whoever reads the key on the billing host can ask for invoices, and can neither approve nor send anything."""
    routes = [(method, rule) for method, rule in merchant_routes(shops) if rule.startswith("/v1/")]
    known = shops.ids("shop") | {"number": "1"}
    refused = []
    for method, rule in routes:
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda name: known.get(name[1], "x"), rule)
        answer = shops.call(
            "shop", method, path, json=None if method == "GET" else {}, headers={"Idempotency-Key": "k"}
        )
        if answer.status_code == 401:
            refused.append((method, rule))
    assert set(routes) - set(refused) == OF_MERCHANTS


def test_both_really_see_their_own(shops):
    for name in KEYS:
        feed = shops.call(name, "GET", "/v1/events?after=0").text
        listed = shops.call(name, "GET", "/v1/invoices").text
        assert shops.invoices[name]["id"] in feed
        assert shops.invoices[name]["id"] in listed


def test_the_same_billing_number_and_key_are_two_invoices(shops):
    mine, theirs = shops.invoices["shop"], shops.invoices["rival"]
    assert mine["id"] != theirs["id"]
    assert mine["address"] != theirs["address"]


def test_feed_positions_tell_nothing_of_the_others_invoices(shops):
    for name, other in (("shop", "rival"), ("rival", "shop")):
        events = shops.call(name, "GET", "/v1/events?after=0&limit=500").json["events"]
        assert {e["invoice"]["id"] for e in events} == {shops.invoices[name]["id"]}
        assert shops.invoices[other]["id"] not in str(events)


def test_what_does_not_exist_and_what_is_anothers_look_the_same(shops):
    missing = shops.call("rival", "GET", "/v1/invoices/inv_000000000000000000000000")
    anothers = shops.call("rival", "GET", f"/v1/invoices/{shops.invoices['shop']['id']}")
    assert (missing.status_code, missing.json) == (anothers.status_code, anothers.json)
    assert missing.status_code == 404


def test_an_event_goes_to_its_own_merchants_endpoint_only(shops):
    from bridge.invoices.deliver import deliver_due

    deliver_due(shops.site.bridge, owner="w", limit=50, submit=lambda work: work())
    told = shops.site.world.billing.told
    assert {merchant for merchant, _, _ in told} == set(KEYS)
    for merchant, _, body in told:
        other = "rival" if merchant == "shop" else "shop"
        assert not any(mark.encode() in body for mark in shops.marks(other))


def test_metrics_need_a_key_and_name_no_invoice(shops):
    assert shops.site.call("GET", "/metrics").status_code == 401
    text = shops.call("rival", "GET", "/metrics").text
    assert not any(mark in text for mark in shops.marks("shop"))
    assert 'merchant="rival"' in text
    assert 'merchant="shop"' not in text


def test_a_stage_counts_and_names_its_own_merchant_only(shops):
    merchants = shops.site.bridge.merchants
    merchants["rival"] = replace(merchants["rival"], stage=Stage(name="pilot", invoices_per_day=2))

    def ask(merchant, billing_payment_id):
        order = {"billing_payment_id": billing_payment_id, "amount": "10.00", "currency": "USD"}
        return shops.call(
            merchant, "POST", "/v1/invoices", json=order, headers={"Idempotency-Key": f"stage-{billing_payment_id}"}
        )

    assert [ask("shop", f"s{number}").status_code for number in range(3)] == [201] * 3
    seen = [ask("rival", f"r{number}") for number in range(3)]
    assert [answer.status_code for answer in seen][-1] == 422
    assert seen[-1].json["code"] == "stage_limit_reached"
    assert "shop" not in seen[-1].text
    text = shops.call("shop", "GET", "/metrics").text
    assert "bridge_stage_used" in text and "rival" not in text


def test_one_merchants_trace_is_in_no_answer_to_the_other(shops):
    trace = shops.invoices["shop"]["trace_id"]
    for path in ("/v1/invoices", "/v1/events", f"/v1/invoices?billing_payment_id={trace}", f"/v1/invoices/{trace}"):
        assert trace not in shops.call("rival", "GET", path).text.replace(path, "")
