"""One document in several formats, over HTTP and through mgrctl."""

import json

import pytest

from sandbox.billmanager.core import FEATURES
from tests.sandbox_billmanager.driver import Billing

ADMIN = "admin:admin"


@pytest.mark.parametrize("out", ["json", "sjson"])
def test_json_follows_the_contracts_mapping(ready: Billing, out: str) -> None:
    number = ready.order()["payment_id"]
    answer = ready.text("payment.setpaid", out=out, elid=number, authinfo=ADMIN)
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    doc = answer.json()["doc"]
    assert (doc["$lang"], doc["$func"], doc["$binary"]) == ("en", "payment.setpaid", "/billmgr")
    assert doc["$host"] == ready.url and doc["$themename"] == "dragon" and doc["$theme"] == "/manimg/dragon/"
    assert doc["ok"] == {} and doc["saved_filters"] == {}
    assert doc["tparams"] == {"elid": {"$": str(number)}, "func": {"$": "payment.setpaid"}, "out": {"$": out}}


def test_the_redirect_in_json_is_a_typed_ok(ready: Billing) -> None:
    params = {"amount": "10.00", "paymethod": "1", "payment_currency": "126", "authinfo": "demo:demo"}
    doc = ready.text("payment.add.method", out="json", sok="ok", **params).json()["doc"]
    assert doc["ok"] == {
        "$type": "url",
        "$on_blank_redirect_action": "func=payment",
        "$": "/mancgi/tokenpayment?elid=1",
    }
    assert doc["payment_id"] == {"$": "1"}


def test_a_list_is_an_array_also_with_one_element(ready: Billing) -> None:
    ready.order()
    doc = ready.text("payment", out="json", authinfo=ADMIN).json()["doc"]
    assert [row["id"] for row in doc["elem"]] == [{"$": "1"}]
    assert doc["elem"][0]["status"] == {"$color": "blue", "$orig": "8", "$": "Initiated"}
    assert doc["elem"][0]["paymethodamount_iso"] == {"$": "10.00 RUB"}


def test_an_error_keeps_http_200_and_has_the_contracts_shape(billing: Billing) -> None:
    answer = billing.text("whoami", out="json", authinfo="demo:no")
    assert answer.status_code == 200
    assert answer.json()["doc"]["error"] == {
        "$type": "auth",
        "$object": "badpassword",
        "$lang": "en",
        "detail": {"$": "Invalid username or password"},
        "msg": {"$": "Invalid username or password"},
        "param": [
            {"$name": "object", "$type": "msg", "$": "badpassword"},
            {"$name": "value", "$": "remote_addr: [127.0.0.1]"},
        ],
    }


def test_bjson_has_no_doc_around_it(ready: Billing) -> None:
    ready.order()
    found = ready.text("payment", out="bjson", authinfo=ADMIN).json()
    assert found["elem"][0]["id"] == "1" and found["p_elems"] == "1"
    assert "error" in ready.text("payment.info", out="bjson", elid=99, authinfo=ADMIN).json()


def test_xml_attributes_come_in_the_observed_order(ready: Billing) -> None:
    number = ready.order()["payment_id"]
    got = ready.run(
        "-m", "billmgr", "payment.setinpay", f"elid={number}", "externalid=inv-1", 'info=a<b & "c"', "out=xml"
    )
    features = FEATURES
    assert got.stdout.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<doc lang="en" func="payment.setinpay" binary="/billmgr" host="http://" themename="dragon" '
        f'features="{features}" notify="" theme="/manimg/dragon/"><ok/><tparams><elid>1</elid>'
        '<externalid>inv-1</externalid><info>a&lt;b &amp; "c"</info><out>xml</out><func>payment.setinpay</func></tparams>'
        "<saved_filters/></doc>\n"
    )


def test_text_is_the_default_of_mgrctl(ready: Billing) -> None:
    ready.order()
    assert ready.run("-m", "billmgr", "payment").stdout.decode().startswith("id=1 number=pfx/1 ")
    assert ready.run("-m", "billmgr", "payment.setinpay", "elid=1").stdout == b"OK\n"
    failed = ready.run("-m", "billmgr", "payment.info", "elid=9")
    assert (failed.returncode, failed.stdout) == (1, b"ERROR missed(payment,9)\n")
    ready.knobs(text_error_rc=0)
    assert ready.run("-m", "billmgr", "payment.info", "elid=9").returncode == 0


def test_unknown_functions_are_missed_with_their_name(billing: Billing) -> None:
    doc = billing.text("payment.fly", out="json", authinfo=ADMIN).json()["doc"]
    assert (doc["error"]["$type"], doc["error"]["$object"]) == ("missed", "payment.fly")


def test_json_arrays_can_follow_the_attribute(ready: Billing) -> None:
    ready.order()
    ready.knobs(json_arrays=True)
    got = json.loads(ready.run("-m", "billmgr", "-o", "json", "payment.info", "elid=1").stdout)
    assert isinstance(got["doc"]["payment"], list)
