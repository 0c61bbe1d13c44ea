"""Payment methods: forms from a module's description, checks, pmtune, pmvalidate and its errors in words."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.sandbox_billmanager.driver import COIN, SETTINGS, Billing, error, message

ADMIN = {"authinfo": "admin:admin"}


def add(billing: Billing, module: str = "pmcoin.php", **parts: Any) -> ET.Element:
    return billing.api("paymethod.add", module=module, sok="ok", **{**ADMIN, **parts})


def test_the_form_has_the_description_its_words_and_the_options_of_pmtune(billing: Billing) -> None:
    form = billing.api("paymethod.add", module="pmcoin.php", **ADMIN)
    controls = [control.get("name") for control in form.findall("metadata/form/page/field/*")]
    assert controls == ["shop_id", "shop_key", "network", "contact", "minutes", "test", "allowrefund"]
    words = {m.get("name"): m.text for m in form.findall("messages/msg")}
    assert (words["shop_id"], words["hint_shop_key"]) == ("Shop number", "From your shop")
    assert [option.text for option in form.findall("slist[@name='network']/msg")] == ["mainnet", "testnet"]


def test_the_form_speaks_russian_and_falls_back_to_english(billing: Billing) -> None:
    form = billing.api("paymethod.add", module="pmcoin.php", lang="ru", **ADMIN)
    words = {m.get("name"): m.text for m in form.findall("messages/msg")}
    assert (words["shop_id"], words["network"]) == ("Номер магазина", "Network")


def test_pmvalidate_gets_own_fields_on_top_and_generic_ones_nested(billing: Billing) -> None:
    add(billing, **COIN, test="on", currency="153", minamount="3")
    run = billing.control("GET", "records?kind=module")["records"][-1]
    assert run["argv"][1:] == ["--command", "pmvalidate"]
    form = ET.fromstring(run["stdin"])
    assert (form.findtext("shop_id"), form.findtext("test"), form.findtext("allowrefund")) == ("0012", "on", "off")
    nested = {part.tag: part.text or "" for part in form.findall("paymethod/*")}
    assert (nested["id"], nested["currency"], nested["minamount"], nested["recurring"]) == ("", "153", "3", "off")


def test_the_values_are_stored_as_the_module_normalised_them_with_their_private_marks(billing: Billing) -> None:
    number = add(billing, **COIN).findtext("id")
    stored = billing.control("GET", "paymethods")["paymethods"][0]
    assert str(stored["id"]) == number and stored["module"] == "pmcoin.php"
    assert stored["xmlparams"] == (
        '<doc><shop_id private="yes">12</shop_id><shop_key private="yes">made-up-shop-key</shop_key>'
        '<network private=""/><contact private=""/><minutes private=""/><test private="">off</test>'
        '<allowrefund private="">off</allowrefund><recurring private="">off</recurring></doc>'
    )


@pytest.mark.parametrize(
    ("change", "kind", "field", "text"),
    [
        ({"shop_id": ""}, "missed", "shop_id", "'Shop number' is missing or does not exist."),
        ({"shop_id": "abc"}, "value", "shop_id", "The value of the field 'Shop number' is wrong. abc"),
        ({"shop_id": "1" * 9}, "value", "shop_id", "The value of the field 'Shop number' is wrong. 111111111"),
        ({"contact": "nobody"}, "value", "contact", "The value of the field 'contact' is wrong. nobody"),
        ({"minutes": "0"}, "value", "minutes", "The value of the field 'minutes' is wrong. 0"),
        ({"minutes": "4321"}, "value", "minutes", "The value of the field 'minutes' is wrong. 4321"),
        ({"minutes": "x"}, "value", "minutes", "The value of the field 'minutes' is wrong. x"),
        ({"shop_key": "wrong"}, "key_refused", "shop_key", "The shop refused 'Shop key': gateway said no ()"),
        ({"currency": "999"}, "value", "payment_currency", "The value of the field 'payment_currency' is wrong. 999"),
    ],
)
def test_a_wrong_field_is_named_in_words(
    billing: Billing, change: dict[str, str], kind: str, field: str, text: str
) -> None:
    document = add(billing, **{**COIN, **change})
    assert error(document) == (kind, field)
    assert message(document) == text
    assert billing.control("GET", "paymethods")["paymethods"] == []


def test_error_texts_come_in_russian_with_their_values(billing: Billing) -> None:
    document = add(billing, **{**COIN, "shop_key": "wrong"}, lang="ru")
    assert message(document) == "Магазин отклонил «Ключ магазина»: gateway said no"
    down = add(billing, "pmtoken", **{**SETTINGS, "api_url": "http://down.example"}, lang="ru")
    assert (error(down), message(down)) == (("gateway_down", "api_url"), "Шлюз недоступен: timeout after 5 s")


def test_other_parameters_are_put_into_the_text_too(billing: Billing) -> None:
    document = add(billing, "pmtoken", **SETTINGS, currency="JPY")
    assert message(document) == "JPY is not one of <b>RUB, USD</b>"
    params = {p.get("name"): p.text for p in document.findall("error/param")}
    assert params == {"object": "currency", "value": "JPY", "currencies": "RUB, USD"}


@pytest.mark.parametrize("url", ["gateway", "http://", "javascript:alert(1)", "http://[", "http://a b"])
def test_an_address_must_be_one(billing: Billing, url: str) -> None:
    assert error(add(billing, "pmtoken", **{**SETTINGS, "api_url": url})) == ("value", "api_url")


def test_an_edit_keeps_the_stored_password_and_shows_none(billing: Billing) -> None:
    number = add(billing, **COIN).findtext("id")
    form = billing.api("paymethod.edit", elid=number, **ADMIN)
    assert (form.findtext("shop_id"), form.findtext("shop_key")) == ("12", None) or not form.findtext("shop_key")
    billing.api("paymethod.edit", elid=number, shop_id="77", shop_key="", name="Shop", sok="ok", **ADMIN)
    stored = billing.control("GET", "paymethods")["paymethods"][0]
    assert (stored["name"], ">77<" in stored["xmlparams"], "made-up-shop-key" in stored["xmlparams"]) == (
        "Shop",
        True,
        True,
    )


def test_a_method_with_payments_cannot_be_deleted(ready: Billing) -> None:
    ready.order()
    assert error(ready.api("paymethod.delete", elid=1, **ADMIN)) == ("exists", "payment")
    assert ready.api("paymethod.delete", elid=2, **ADMIN).find("ok") is not None


def test_the_list_shows_the_modules_logo_or_the_cash_picture(billing: Billing) -> None:
    add(billing, **COIN)
    add(billing, "pmtoken", **SETTINGS)
    listed = billing.api("paymethod", **ADMIN).findall("elem")
    assert [row.findtext("logo") for row in listed] == [
        "/manimg/userdata/img/cash.png",
        "/manimg/common/plugin-logo/billmanager-plugin-pmtoken.png",
    ]


@pytest.mark.parametrize(
    ("fault", "reason"), [("garbage", "answer is not XML"), ("exit", "exit 1"), ("killed", "exit -9")]
)
def test_a_broken_module_is_an_error_and_stores_nothing(billing: Billing, fault: str, reason: str) -> None:
    billing.api("paymethod.add", module="pmtoken", **ADMIN)  # config has run
    billing.fault(target="module", kind=fault, name="pmtoken")
    document = add(billing, "pmtoken", **SETTINGS)
    assert error(document) == ("module", "pmtoken") and reason in message(document)
    assert add(billing, "pmtoken", **SETTINGS).find("ok") is not None


def test_a_module_that_hangs_is_stopped(billing: Billing) -> None:
    billing.api("paymethod.add", module="pmtoken", **ADMIN)
    billing.knobs(module_timeout_s=0.3)
    billing.fault(target="module", kind="slow", name="pmtoken", seconds=20)
    document = add(billing, "pmtoken", **SETTINGS)
    assert error(document) == ("module", "pmtoken") and "timeout" in message(document)
