"""payment.info is the contract's document, and the four ways of reading it give what the contract says."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import requests

from tests.sandbox_billmanager.driver import Billing, error

GOLDEN = Path(__file__).with_name("golden_payment_info.xml")
Shape = tuple[str, dict[str, str], str, list["Shape"]]  # type: ignore[misc]


@pytest.fixture
def seventh(billing: Billing) -> Billing:
    """Payment 7 of the contract: 10.00 RUB, initiated, from 203.0.113.5."""
    core = billing.running.core
    core.world.reset(next_payment_id=7)
    core.world.users[4].realname = "Name"
    core.manager_url = "https://billing.example/billmgr"
    billing.setup(currencies=["RUB"])
    core.clock.set(datetime(2024, 5, 7, 15, 7, 22, tzinfo=UTC))
    sid = billing.control("POST", "session")["session"]
    billing.knobs(forwarded_secret="proxy")
    params = {"amount": "10.00", "payment_currency": "126", "paymethod": "1", "randomnumber": "aB3dE5fG7hJ9"}
    headers = {"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Secret": "proxy"}
    sent = {"func": "payment.add.method", "auth": sid, "out": "xml", "sok": "ok", **params}
    requests.post(f"{billing.url}/billmgr", data=sent, headers=headers, timeout=10)
    core.clock.set(datetime(2024, 5, 7, 15, 7, 22, tzinfo=UTC))
    return billing


def shape(element: ET.Element) -> "Shape":
    attributes = {n: "OPAQUE" if n == "features" else v for n, v in element.items()}
    return element.tag, attributes, (element.text or "").strip(), [shape(part) for part in element]


def info_bytes(billing: Billing, *more: str) -> bytes:
    return billing.run("-m", "billmgr", "payment.info", "elid=7", *(more or ("lang=ru", "out=xml"))).stdout


def test_the_document_is_the_golden_one_field_by_field_with_its_order_and_repeated_tags(seventh: Billing) -> None:
    assert shape(ET.fromstring(info_bytes(seventh))) == shape(ET.fromstring(GOLDEN.read_bytes()))


def test_the_bytes_are_the_golden_ones_too(seventh: Billing) -> None:
    golden = "".join(line.strip() for line in GOLDEN.read_text("utf-8").splitlines()[1:])
    features = ET.fromstring(info_bytes(seventh)).get("features", "")
    got = info_bytes(seventh).decode().replace(features, "OPAQUE")
    assert got == '<?xml version="1.0" encoding="UTF-8"?>\n' + golden + "\n"


def test_reading_the_child_that_has_children_finds_method_and_currency(seventh: Billing) -> None:
    payment = ET.fromstring(info_bytes(seventh)).find("payment")
    assert payment is not None

    def the_object(tag: str) -> ET.Element:
        return next(part for part in payment.findall(tag) if len(part))

    assert the_object("paymethod").findtext("module") == "pmtoken"
    assert the_object("paymethod").findtext("api_key") == "made-up-key"
    assert the_object("currency").findtext("iso") == "RUB"


def test_reading_with_phps_second_element_finds_the_same(seventh: Billing) -> None:
    script = (
        "$d = simplexml_load_string(stream_get_contents(STDIN)); $p = $d->payment[0];"
        'echo $p->paymethod[0], " ", $p->paymethod[1]->module, " ", $p->paymethod[1]->api_key, " ", $p->currency[1]->iso;'
    )
    read = subprocess.run(["php", "-r", script], input=info_bytes(seventh), capture_output=True, check=True)
    assert read.stdout == b"1 pmtoken made-up-key RUB"


def test_a_dict_by_tag_loses_one_of_the_two_as_it_does_in_reality(seventh: Billing) -> None:
    payment = ET.fromstring(info_bytes(seventh)).find("payment")
    assert payment is not None
    first = payment.find("paymethod")
    assert first is not None and first.findtext("module") is None
    by_tag = {part.tag: part.text for part in payment}
    assert by_tag["paymethod"] is None and by_tag["currency"] is None


def test_reading_json_gives_arrays_for_repeated_tags(seventh: Billing) -> None:
    payment = json.loads(info_bytes(seventh, "out=json"))["doc"]["payment"]
    flat, method = payment["paymethod"]
    assert flat == {"$": "1"}
    assert (method["module"], method["api_key"]) == ({"$": "pmtoken"}, {"$": "made-up-key"})
    assert payment["currency"][1]["iso"] == {"$": "RUB"}
    assert payment["externalid"] == {}
    assert payment["$is_json_array"] == "yes" and payment["$template"] == "payment_payment"


def test_a_client_session_gets_access_and_an_administrator_gets_the_document(seventh: Billing) -> None:
    assert error(seventh.api("payment.info", elid=7, authinfo="demo:demo")) == ("access", "payment.info")
    assert seventh.api("payment.info", elid=7, authinfo="admin:admin").findtext("payment/id") == "7"


def test_the_knob_opens_the_document_to_its_owner_only(seventh: Billing) -> None:
    seventh.knobs(info_for_clients=True)
    assert seventh.api("payment.info", elid=7, authinfo="demo:demo").findtext("payment/id") == "7"
    assert error(seventh.api("payment.info", elid=7, authinfo="other:other")) == ("access", "payment.info")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ("missed", "elid")),
        ({"elid": "8"}, ("missed", "payment")),
        ({"elid": "1;rm -rf"}, ("missed", "payment")),
        ({"elid": "٧"}, ("missed", "payment")),
    ],
)
def test_a_missing_or_wrong_elid_is_an_error_document(
    seventh: Billing, params: dict[str, str], expected: tuple[str, str]
) -> None:
    assert error(seventh.mgrctl("payment.info", **params)) == expected
