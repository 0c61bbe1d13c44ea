"""Modules written for a real installation run unchanged: PHP with fixed paths, Python with the base class."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.sandbox_billmanager.driver import Billing, error, message

MODULES = Path(__file__).parent / "modules"


def test_a_php_module_goes_from_settings_to_an_active_service(billing: Billing) -> None:
    billing.setup("pmcoin.php", currencies=["RUB"])
    ordered = billing.order(product="vps", amount="10.00")
    assert ordered["pay_path"] == f"/mancgi/coinpayment.php?elid={ordered['payment_id']}"
    payment = billing.payment(ordered["payment_id"])
    assert (payment["status"], payment["externalid"]) == (2, f"coin-12-{ordered['payment_id']}")
    assert payment["info"] == 'RUB 10.00 it\'s "quoted" = ok\nsecond line'
    page = billing.cgi(f"coinpayment.php?elid={ordered['payment_id']}", cookies={"billmgrses5": ordered["session"]})
    assert page.text == "<p>1 for demo: 10.00 RUB shop 12</p>"
    assert page.headers["Content-Type"] == "text/html"
    billing.control("POST", "tick")
    assert billing.payment(ordered["payment_id"])["status"] == 4
    assert billing.services() == [("vps", "active", 1)]


def test_its_session_may_come_from_the_form_or_the_cookie_or_be_missing(billing: Billing) -> None:
    billing.setup("pmcoin.php", currencies=["RUB"])
    ordered = billing.order()
    number, sid = ordered["payment_id"], ordered["session"]
    posted = billing.cgi("coinpayment.php", method="POST", data={"elid": number, "auth": sid})
    assert "for demo" in posted.text
    assert "for demo" in billing.cgi(f"coinpayment.php?elid={number}", cookies={"billmgrses5": f"{sid}%3Adragon"}).text
    assert billing.cgi(f"coinpayment.php?elid={number}").text == "no session"
    billing.knobs(cgi_content_length="http_only")
    assert "for demo" in billing.cgi("coinpayment.php", method="POST", data={"elid": number, "auth": sid}).text


def test_its_crvalidate_error_blocks_the_creation(billing: Billing) -> None:
    method = billing.setup("pmcoin.php", currencies=["RUB"])["RUB"]
    wish = {"amount": "10.00", "paymethod": method, "sok": "ok", "authinfo": "demo:demo"}
    assert error(billing.api("payment.add.method", phone="000", **wish)) == ("value", "phone")
    assert billing.control("GET", "payments")["payments"] == []
    billing.api("payment.add.method", phone="79990000000", **wish)
    number = billing.control("GET", "payments")["payments"][0]["id"]
    assert billing.mgrctl("payment.info", elid=number).findtext("payment/phone") == "79990000000"


def test_its_crdelete_runs_while_the_payment_is_being_deleted(billing: Billing) -> None:
    billing.setup("pmcoin.php", currencies=["RUB"])
    number = billing.order()["payment_id"]
    assert billing.mgrctl("payment.delete", elid=number).find("ok") is not None
    assert billing.payment(number)["http"] == 404
    assert billing.history(number)[-1][:3] == (2, 100, "payment.delete")
    runs = billing.control("GET", "records?kind=module&name=pmcoin.php")["records"]
    assert runs[-1]["argv"][1:] == ["--command", "crdelete", "--payment", str(number)]


def test_refunds_ask_the_module_and_book_part_or_all(billing: Billing) -> None:
    billing.setup("pmcoin.php", currencies=["RUB"], settings={"shop_id": "1", "shop_key": "k", "allowrefund": "on"})
    number = billing.order(amount="10.00")["payment_id"]
    billing.mgrctl("payment.setpaid", elid=number)
    billing.control("POST", "topup", amount="10.00")
    refund = {"elid": number, "authinfo": "admin:admin"}
    refused = billing.api("payment.refund", amount="4.00", reason="refuse", **refund)
    assert error(refused) == ("key_refused", "") and "not today" in message(refused)
    assert billing.balance() == "10.00"
    assert billing.api("payment.refund", amount="4.00", **refund).find("ok") is not None
    form = billing.control("GET", "records?kind=module&name=pmcoin.php")["records"][-1]["stdin"]
    assert f"<source_payment>{number}</source_payment><payment_paymethodamount>-4.00</payment_paymethodamount>" in form
    negative = billing.control("GET", "payments")["payments"][-1]
    assert (negative["due"], negative["refund_of"], billing.balance()) == ("-4.00", number, "6.00")
    assert error(billing.api("payment.refund", amount="6.01", **refund)) == ("value", "amount")
    billing.api("payment.refund", amount="6.00", **refund)
    assert (billing.payment(number)["status"], billing.balance()) == (6, "0.00")
    assert [move[:2] for move in billing.history(number)][-2:] == [(4, 5), (5, 6)]


def test_refunds_need_the_methods_permission(billing: Billing) -> None:
    billing.setup("pmcoin.php", currencies=["RUB"])
    number = billing.order()["payment_id"]
    billing.mgrctl("payment.setpaid", elid=number)
    refused = billing.api("payment.refund", elid=number, amount="1.00", authinfo="admin:admin")
    assert error(refused) == ("value", "allowrefund")


def test_a_python_module_goes_the_same_way_with_its_tables_and_lock(ready: Billing) -> None:
    ordered = ready.order(product="domain", amount="12.00", currency="EUR")
    number = ordered["payment_id"]
    moved = ready.cgi(f"tokenpayment?elid={number}", cookies={"billmgrses5": ordered["session"]})
    external = f"tok-{number}-{ready.payment(number)['randomnumber']}"
    assert (moved.status_code, moved.headers["Location"]) == (302, f"http://gateway.example/pay/{external}?EUR")
    runs = ready.control("POST", "tick", module="pmtoken")["runs"]
    assert [(run["argv"][1:], run["stdin"], run["stdout"], run["rc"]) for run in runs] == [
        (["--command", "checkpay"], "", "", 0)
    ]
    assert ready.payment(number)["externalid"] == external
    assert ready.services() == [("domain", "active", 1)]
    assert [move[3] for move in ready.history(number)] == ["203.0.113.5", "tokenpayment", "pmtoken"]
    again = ready.cgi(f"tokenpayment?elid={number}")
    assert again.headers["Location"] == f"{ready.url}/billmgr?func=payment.success&elid={number}&module=pmtoken"
    log = (ready.running.base / "var/pmtoken.log").read_text()
    assert f"pmtoken INFO paying {number}" in log


def test_config_runs_once_per_start_and_again_after_exit(billing: Billing) -> None:
    billing.mgrctl("exit")
    for _ in range(2):
        billing.control("GET", "state")
    runs = billing.control("GET", "records?kind=module&name=pmtoken")["records"]
    assert [run["argv"][1:] for run in runs] == [["--command", "config"]]
    billing.mgrctl("exit")
    billing.control("GET", "state")
    assert len(billing.control("GET", "records?kind=module&name=pmtoken")["records"]) == 2


def test_fixed_paths_point_into_the_tree_and_module_files_are_otherwise_the_same(billing: Billing) -> None:
    base = billing.running.base
    source = (MODULES / "php/paymethods/pmcoin.php").read_text()
    installed = base / "paymethods/pmcoin.php"
    assert installed.read_text() == source.replace("/usr/local/mgr5", str(base))
    assert installed.stat().st_mode & 0o777 == 0o755
    assert not Path("/usr/local/mgr5").exists() or Path("/usr/local/mgr5").resolve() != base


def test_modules_may_only_read_the_tables(billing: Billing) -> None:
    for query in ("DELETE FROM payment", "SELECT nonsense", "INSERT INTO currency VALUES (1, 'X', '1')"):
        document = billing.mgrctl("sandbox.select", query=query, count=0)
        assert error(document) == ("value", "query")
    query = "query=SELECT iso FROM currency WHERE id = %s"
    listed = json.loads(billing.run("sandbox.select", query, "count=1", "p0=126", "out=bjson").stdout)
    assert listed["elem"] == [{"iso": "RUB"}]


def test_the_tables_hold_what_python_modules_join(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    query = (
        "query=SELECT u.email, p.id, p.billorder, IFNULL(c.iso2, 'EN') AS country FROM payment AS p"
        " JOIN account a ON a.id = p.subaccount JOIN user u ON u.account = a.id LEFT JOIN country c ON c.id = a.country"
        f' WHERE p.id = "{number}"'
    )
    listed = json.loads(ready.run("sandbox.select", query, "count=0", "out=bjson").stdout)
    one = {"$type": "int", "$": "1"}
    assert listed["elem"] == [{"email": "client@example.com", "id": one, "billorder": one, "country": "RU"}]


SEAT = {"hall": "Большой"}


def test_a_linked_python_module_with_autopayments_and_stored_ways_is_hosted(billing: Billing) -> None:
    """Its description lies in a file of another name, its script is a link, its library is the vendor's newer one."""
    declared = billing.running.core.registry.declared("pmseat")
    assert declared.params["recurring_type"] == str((1 << 8) + (1 << 20))
    assert {"recurring", "stored", "rcpay", "crset", "checkpay"} < declared.features
    helped = subprocess.run([billing.running.base / "paymethods/pmseat", "--help"], capture_output=True, check=True)
    assert b"Pays with seats" in helped.stdout and b"--row" in helped.stdout
    billing.setup("pmseat", currencies=["RUB"], settings=SEAT)
    number, declined = (billing.order(amount=amount)["payment_id"] for amount in ("10.00", "13.00"))
    assert billing.payment(number)["externalid"] == f"seat-{number}"
    for each in (number, declined):
        done = billing.control("POST", "ask", module="pmseat", command="rcpay", payment=each)
        assert (done["rc"], done["stdout"], done["stderr"]) == (0, "", "")
    assert (billing.payment(number)["status"], billing.payment(declined)["status"]) == (4, 9)
    assert billing.payment(number)["externalid"] == f"seat-{number}"
    (run,) = billing.control("POST", "tick", module="pmseat")["runs"]
    assert (run["rc"], run["stdout"]) == (0, "")


def test_an_error_says_its_further_values(billing: Billing) -> None:
    wish = {"module": "pmseat", "currency": "RUB", "sok": "ok", "authinfo": "admin:admin"}
    refused = billing.api("paymethod.add", hall="Малый", **wish)
    assert (error(refused), message(refused)) == (("no_hall", ""), "There is only the hall Большой")


def test_what_another_field_hides_is_not_demanded(billing: Billing) -> None:
    wish = {"module": "pmseat", "currency": "RUB", "sok": "ok", "authinfo": "admin:admin", **SEAT}
    assert error(billing.api("paymethod.add", by_mail="on", **wish)) == ("missed", "mailbox")
    assert error(billing.api("paymethod.add", by_mail="on", mailbox="nobody", **wish)) == ("value", "mailbox")
    assert billing.api("paymethod.add", by_mail="off", **wish).find("ok") is not None
    assert billing.api("paymethod.add", by_mail="on", mailbox="box@example.com", **wish).find("ok") is not None


def test_a_linked_php_module_is_hosted_and_reads_the_environment_that_is_asked_for(billing: Billing) -> None:
    billing.mgrctl("exit")
    billing.knobs(extra_environment={"GIFT_SCRIPT": "/mancgi/echo"})
    billing.setup("pmgift.php", currencies=["RUB"], settings={})
    assert billing.order()["pay_path"].startswith("/mancgi/echo?elid=")
    billing.mgrctl("exit")


@pytest.mark.parametrize(
    ("words", "info"),
    [
        ("7, 'words', 'ext-7'", "words"),  # the older library
        ("7, 'ext-7'", ""),
        ("7, info='words', external_id='ext-7'", "words"),
        ("7, 'ext-7', payment.RecurringInfo(payment.RecurringStatus.rsStored, token='t')", ""),
        ("7, 'ext-7', recurring_info=payment.RecurringInfo(payment.RecurringStatus.rsStored, token='t')", ""),
    ],
)
def test_a_python_module_may_name_what_it_says_of_a_payment_in_either_order(
    ready: Billing, words: str, info: str
) -> None:
    ready.running.world.next_ids["payments"] = 7
    assert ready.order()["payment_id"] == 7
    code = f"import sys; sys.path.insert(0, 'lib/python'); from billmgr import payment; payment.set_paid({words})"
    subprocess.run(["/usr/bin/python3", "-B", "-c", code], cwd=ready.running.base, check=True)
    paid = ready.payment(7)
    assert (paid["status"], paid["externalid"], paid["info"]) == (4, "ext-7", info)
