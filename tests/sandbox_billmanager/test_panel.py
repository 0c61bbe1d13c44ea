"""The pages: a client orders and pays, an administrator adds a method and looks after it, in two languages."""

import re

import pytest
import requests

from tests.sandbox_billmanager.driver import COIN, Billing


def logged_in(billing: Billing, name: str) -> requests.Session:
    session = requests.Session()
    form = {"func": "auth", "username": name, "password": name}
    answer = session.post(f"{billing.url}/billmgr", data=form, allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    return session


def visit(billing: Billing, session: requests.Session, path: str, **form: str) -> requests.Response:
    method = "POST" if form else "GET"
    return session.request(method, billing.url + path, data=form or None, allow_redirects=False, timeout=20)


def test_strangers_see_the_login_page_only(billing: Billing) -> None:
    stranger = requests.Session()
    assert 'name="password"' in visit(billing, stranger, "/").text
    for path in ("/client/", "/client/payments/1", "/admin/", "/admin/records", "/admin/faults", "/admin/methods/1"):
        answer = visit(billing, stranger, path)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    wrong = visit(billing, stranger, "/billmgr", func="auth", username="demo", password="no")
    assert wrong.status_code == 401 and "Invalid username or password" in wrong.text


def test_a_client_is_not_an_administrator(billing: Billing) -> None:
    client = logged_in(billing, "demo")
    assert visit(billing, client, "/admin/").headers["Location"] == "/client/"
    assert visit(billing, client, "/admin/faults", what="mgrctl:dead").headers["Location"] == "/client/"
    assert billing.control("GET", "faults")["faults"] == []


@pytest.mark.parametrize(("product", "currency"), [("vps", "RUB"), ("domain", "USD"), ("topup", "EUR")])
def test_a_client_orders_pays_and_sees_the_service_run(ready: Billing, product: str, currency: str) -> None:
    client = logged_in(ready, "demo")
    form = {"product": product, "amount": "10.00", "currency": currency, "module": "pmtoken"}
    page = visit(ready, client, "/client/").text
    assert "Pay with Token" in page
    mark = re.search(r'name="randomnumber" value="(\w+)"', page)
    assert mark is not None
    for _ in range(2):  # the button pressed twice
        sent = visit(ready, client, "/client/order", randomnumber=mark.group(1), **form)
        assert (sent.status_code, sent.headers["Location"]) == (302, "/mancgi/tokenpayment?elid=1")
    assert len(ready.services()) == (0 if product == "topup" else 1)
    assert visit(ready, client, sent.headers["Location"]).headers["Location"].startswith("http://gateway.example/pay/")
    assert "In payment" in visit(ready, client, "/client/payments/1").text
    ready.control("POST", "tick", module="pmtoken")
    paid = visit(ready, client, "/client/payments/1").text
    assert ">Paid<" in paid and "/mancgi/" not in paid
    assert (">active<" in visit(ready, client, "/client/").text) == (product != "topup")
    assert "has arrived" in visit(ready, client, "/billmgr?func=payment.success&elid=1&module=pmtoken").text


def test_a_wrong_amount_is_told_at_its_field_and_nothing_is_ordered(ready: Billing) -> None:
    client = logged_in(ready, "demo")
    form = {"product": "vps", "amount": "<b>1e3", "currency": "RUB", "module": "pmtoken", "randomnumber": "x"}
    answer = visit(ready, client, "/client/order", **form)
    assert answer.status_code == 422
    assert 'id="amount-error"' in answer.text and "&lt;b&gt;1e3" in answer.text and "<b>1e3" not in answer.text
    assert ready.services() == []


def test_a_client_sees_no_payment_of_another(ready: Billing) -> None:
    foreign = ready.order(user="other")["payment_id"]
    client = logged_in(ready, "demo")
    assert visit(ready, client, f"/client/payments/{foreign}").status_code == 404
    assert "pfx/" not in visit(ready, client, f"/billmgr?func=payment.success&elid={foreign}").text


def test_the_success_page_does_not_believe_its_address(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    page = visit(ready, logged_in(ready, "demo"), f"/billmgr?func=payment.success&elid={number}").text
    assert "has arrived" not in page and "on its way" in page


def test_an_administrator_adds_a_method_and_errors_stand_at_their_field(billing: Billing) -> None:
    admin = logged_in(billing, "admin")
    form = visit(billing, admin, "/admin/methods/new/pmcoin.php").text
    assert '<option value="testnet"' in form and "Shop number *" in form and "From your shop" in form
    settings = {**COIN, "name": "Coins", "currency": "126", "shop_key": "wrong"}
    wrong = visit(billing, admin, "/admin/methods/new/pmcoin.php", **settings)
    assert wrong.status_code == 422
    assert re.search(r'id="shop_key-error" role="alert">The shop refused &#39;Shop key&#39;', wrong.text)
    assert 'value="Coins"' in wrong.text
    saved = visit(billing, admin, "/admin/methods/new/pmcoin.php", **{**settings, **COIN})
    assert saved.headers["Location"] == "/admin/"
    assert "Coins" in visit(billing, admin, "/admin/").text
    edit = visit(billing, admin, "/admin/methods/1").text
    assert "made-up-shop-key" not in edit and 'value="12"' in edit


def test_an_administrator_moves_payments_and_sees_why_not(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    admin = logged_in(ready, "admin")
    path = f"/admin/payments/{number}"
    visit(ready, admin, path, func="payment.edit", amount="11.00")
    visit(ready, admin, path, func="payment.setpaid")
    page = visit(ready, admin, path).text
    assert "11.00 RUB" in page and "payment.setpaid" in page and ">Paid<" in page
    refused = visit(ready, admin, path, func="payment.setcanceled")
    assert refused.status_code == 422 and 'role="alert"' in refused.text
    assert ready.history(number)[-1][2] == "payment.setpaid"


def test_runs_ticks_and_faults_have_pages(ready: Billing) -> None:
    admin = logged_in(ready, "admin")
    assert visit(ready, admin, "/admin/tick", go="1").status_code == 302
    page = visit(ready, admin, "/admin/records?kind=module").text
    assert "paymethods/pmtoken --command checkpay" in page
    number = ready.control("GET", "records?kind=module")["records"][-1]["number"]
    assert "--command\ncheckpay" in visit(ready, admin, f"/admin/records/{number}").text
    visit(ready, admin, "/admin/faults", what="mgrctl:slow", name="payment.setpaid", times="3", seconds="2")
    planned = ready.control("GET", "faults")["faults"]
    assert [(f["target"], f["kind"], f["name"], f["times"], f["seconds"]) for f in planned] == [
        ("mgrctl", "slow", "payment.setpaid", 3, 2.0)
    ]
    assert "payment.setpaid" in visit(ready, admin, "/admin/faults").text
    assert visit(ready, admin, "/admin/faults", what="mgrctl:flying").status_code == 422
    visit(ready, admin, "/admin/faults", clear="1")
    assert ready.control("GET", "faults")["faults"] == []


def test_the_language_switch_goes_back_to_own_pages_only(ready: Billing) -> None:
    client = logged_in(ready, "demo")
    assert visit(ready, client, "/lang/ru?back=/client/").headers["Location"] == "/client/"
    page = visit(ready, client, "/client/").text
    assert '<html lang="ru">' in page and "Оплатить через Token" in page
    for back in ("//evil.example", "https://evil.example", "/\\evil.example"):
        assert visit(ready, client, f"/lang/en?back={back}").headers["Location"] == "/"


def test_pages_load_nothing_from_elsewhere(ready: Billing) -> None:
    ready.order()
    admin, client = logged_in(ready, "admin"), logged_in(ready, "demo")
    pages = [visit(ready, admin, path).text for path in ("/admin/", "/admin/records", "/admin/payments/1")]
    pages += [visit(ready, client, path).text for path in ("/client/", "/client/payments/1")]
    for page in pages:
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page) and "<script" not in page
        assert 'name="viewport"' in page


def test_log_out_ends_the_session(billing: Billing) -> None:
    client = logged_in(billing, "demo")
    sid = client.cookies["billmgrses5"]
    visit(billing, client, "/logout", go="1")
    assert billing.api("whoami", auth=sid).find("error") is not None
