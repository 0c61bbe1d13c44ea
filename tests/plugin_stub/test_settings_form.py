"""pmvalidate: every field is proved against the bridge before it is saved, and every error names its field."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

import pytest

from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import KEY, OLD_SECRET, SECRET, STUB, Panel

DESCRIPTION = STUB / "etc/xml/billmgr_mod_pmsubtc.xml"


def form(
    url: str, *, key: str = KEY, secret: str = SECRET, old: str = "", currency: str = "126", allowrefund: str = "off"
) -> str:
    """What BILLmanager writes to the module's stdin (BILLmanager contract 5.2)."""
    return (
        f"<doc><subtc_bridge_url>{escape(url)}</subtc_bridge_url><subtc_api_key>{escape(key)}</subtc_api_key>"
        f"<subtc_notify_secret>{escape(secret)}</subtc_notify_secret><subtc_notify_secret_old>{old}"
        f"</subtc_notify_secret_old><allowrefund>{allowrefund}</allowrefund>"
        f"<paymethod><id/><currency>{currency}</currency></paymethod></doc>"
    )


def error(answer: str) -> tuple[str, str]:
    found = ET.fromstring(answer).find("error")
    assert found is not None
    return found.get("type", ""), found.get("object", "")


def messages(language: str) -> dict[str, str]:
    group = ET.parse(DESCRIPTION).find(f"lang[@name='{language}']/messages[@name='msgerror']")
    assert group is not None
    return {msg.get("name", ""): msg.text or "" for msg in group}


def test_a_tier_that_no_policy_can_have_is_shown_at_its_field(panel: Panel, bridge: FakeBridge) -> None:
    typed = form(bridge.url).replace("<paymethod>", "<subtc_tier>{}</subtc_tier><paymethod>")
    assert panel.command("pmvalidate", typed.format("trusted")) == ""
    assert error(panel.command("pmvalidate", typed.format("our best"))) == ("subtc_tier_bad", "subtc_tier")


def test_good_settings_are_accepted_in_silence(panel: Panel, bridge: FakeBridge) -> None:
    assert panel.command("pmvalidate", form(bridge.url + "/", old=OLD_SECRET)) == ""
    _, path, _, body = bridge.requests[0]
    assert (path, body["currency"], len(body["nonce"])) == ("/v1/check", "RUB", 32)


@pytest.mark.parametrize(
    "url",
    ["", "pay.example.com", "http://pay.example.com", "ftp://x.example", "https://u:p@x.example", "https://x?y=1"],
)
def test_an_address_that_cannot_be_a_bridge_is_refused_unasked(panel: Panel, bridge: FakeBridge, url: str) -> None:
    assert error(panel.command("pmvalidate", form(url))) == ("subtc_url_bad", "subtc_bridge_url")


@pytest.mark.parametrize("key", ["", "short", "with space in it", "ключ-ключ-ключ"])
def test_a_key_that_cannot_be_one_is_refused_unasked(panel: Panel, bridge: FakeBridge, key: str) -> None:
    assert error(panel.command("pmvalidate", form(bridge.url, key=key))) == ("subtc_key_bad", "subtc_api_key")
    assert bridge.requests == []


def test_a_secret_that_lost_its_padding_proves_itself_as_well(panel: Panel, bridge: FakeBridge) -> None:
    assert SECRET.endswith("=") and OLD_SECRET.endswith("=")
    assert panel.command("pmvalidate", form(bridge.url, secret=SECRET.rstrip("="), old=OLD_SECRET.rstrip("="))) == ""


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_%%%", "whsec_c2hvcnQ="])
def test_a_secret_that_cannot_be_one_is_refused_unasked(panel: Panel, bridge: FakeBridge, secret: str) -> None:
    answer = panel.command("pmvalidate", form(bridge.url, secret=secret))
    assert error(answer) == ("subtc_secret_bad", "subtc_notify_secret")


def test_a_bad_previous_secret_is_shown_at_its_own_field(panel: Panel, bridge: FakeBridge) -> None:
    answer = panel.command("pmvalidate", form(bridge.url, old="nonsense"))
    assert error(answer) == ("subtc_secret_bad", "subtc_notify_secret_old")


def test_a_bridge_that_is_away_is_an_error_at_the_address(panel: Panel, bridge: FakeBridge) -> None:
    answer = panel.command("pmvalidate", form("http://127.0.0.1:9"))
    assert error(answer) == ("subtc_bridge_down", "subtc_bridge_url")
    bridge.status = 500
    assert error(panel.command("pmvalidate", form(bridge.url))) == ("subtc_bridge_down", "subtc_bridge_url")


def test_something_that_is_not_a_bridge_is_an_error_at_the_address(panel: Panel, bridge: FakeBridge) -> None:
    for status in (302, 404):
        bridge.force = (status, {"code": "x"}, {"Location": "http://127.0.0.1:9/"})
        assert error(panel.command("pmvalidate", form(bridge.url))) == ("subtc_bridge_wrong", "subtc_bridge_url")


def test_a_key_the_bridge_does_not_know_is_an_error_at_the_key(panel: Panel, bridge: FakeBridge) -> None:
    answer = panel.command("pmvalidate", form(bridge.url, key="unknown_key_1"))
    assert error(answer) == ("subtc_key_refused", "subtc_api_key")


def test_a_currency_the_bridge_does_not_take_is_an_error_at_the_currency(panel: Panel, bridge: FakeBridge) -> None:
    bridge.currencies = ["RUB"]
    answer = panel.command("pmvalidate", form(bridge.url, currency="153"))
    assert error(answer) == ("subtc_currency_unsupported", "currency")


@pytest.mark.parametrize("offset", [-600, -150, 150, 600])
def test_clocks_too_far_apart_are_an_error_with_the_seconds(panel: Panel, bridge: FakeBridge, offset: int) -> None:
    bridge.clock_offset = offset
    answer = panel.command("pmvalidate", form(bridge.url))
    assert error(answer) == ("subtc_clock_skew", "subtc_bridge_url")
    seconds = ET.fromstring(answer).findtext("error/param[@name='value']")
    assert abs(int(seconds or "0") - abs(offset)) <= 3


def test_another_notification_secret_is_an_error_at_the_secret(panel: Panel, bridge: FakeBridge) -> None:
    answer = panel.command("pmvalidate", form(bridge.url, secret=OLD_SECRET))
    assert error(answer) == ("subtc_secret_mismatch", "subtc_notify_secret")


def test_an_answer_to_another_question_proves_nothing(panel: Panel, bridge: FakeBridge) -> None:
    """A recorded signed answer replayed by somebody in the middle echoes another nonce."""
    panel.command("pmvalidate", form(bridge.url))
    nonce = bridge.requests[0][3]["nonce"]
    bridge.force = bridge._check({"nonce": nonce}, SECRET)
    assert error(panel.command("pmvalidate", form(bridge.url))) == ("subtc_bridge_wrong", "subtc_bridge_url")


def test_without_a_currency_list_the_settings_can_still_be_saved(panel: Panel, bridge: FakeBridge) -> None:
    panel.fail("*", "down", times=9)
    assert panel.command("pmvalidate", form(bridge.url)) == ""
    assert "currency" not in bridge.requests[0][3]


def test_refunds_need_the_switch_of_the_server(panel: Panel, bridge: FakeBridge) -> None:
    answer = panel.command("pmvalidate", form(bridge.url, allowrefund="on"))
    assert error(answer) == ("subtc_refund_off", "allowrefund")
    panel.base.joinpath("etc/subtc.conf").write_text("refund = on\n")
    assert panel.command("pmvalidate", form(bridge.url, allowrefund="on")) == ""
    assert "<refund>on</refund><rfset>on</rfset>" in panel.command("config")


@pytest.mark.parametrize(
    "stdin",
    [
        "",
        "<doc>",
        "not xml",
        '<!DOCTYPE d [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><doc><x>&c;</x></doc>',
        "<doc>\ud800</doc>",
    ],
)
def test_a_broken_form_is_an_error_document(panel: Panel, bridge: FakeBridge, stdin: str) -> None:
    child = panel.start([str(panel.base / "paymethods/pmsubtc"), "--command", "pmvalidate"], panel.environment())
    out, complaint = child.communicate(stdin.encode("utf-8", "surrogatepass"), timeout=30)
    assert (child.returncode, complaint, error(out.decode())[0]) == (0, b"", "subtc_internal")


def test_unknown_commands_and_switched_off_ones_answer_an_error_document(panel: Panel, bridge: FakeBridge) -> None:
    for command in ("rfset", "crset", "", "../config"):
        assert error(panel.command(command))[0] == "subtc_unknown_command"


def test_every_error_has_words_in_both_languages() -> None:
    text = "".join(where.read_text() for where in (STUB / "lib/python/subtc").glob("*.py"))
    kinds = {word for word in text.split('"') if word.startswith("subtc_") and word in KINDS}
    assert kinds == KINDS
    for language in ("en", "ru"):
        found = messages(language)
        assert set(found) == {f"msg_error_{kind}" for kind in KINDS}
        assert all(len(sentence) > 30 for sentence in found.values())


KINDS = {
    "subtc_url_bad",
    "subtc_key_bad",
    "subtc_secret_bad",
    "subtc_tier_bad",
    "subtc_bridge_down",
    "subtc_bridge_tls",
    "subtc_bridge_wrong",
    "subtc_key_refused",
    "subtc_currency_unsupported",
    "subtc_clock_skew",
    "subtc_secret_mismatch",
    "subtc_refund_off",
    "subtc_refund_failed",
    "subtc_unknown_command",
    "subtc_internal",
}


def test_the_description_names_the_same_things_in_both_languages() -> None:
    root = ET.parse(DESCRIPTION).getroot()
    plugin = root.find("plugin")
    assert plugin is not None and plugin.get("name") == "pmsubtc"
    assert plugin.findtext("group") == "payment_method"

    def names(language: str) -> set[tuple[str, str]]:
        groups = root.findall(f"lang[@name='{language}']/messages")
        return {(group.get("name", ""), msg.get("name", "")) for group in groups for msg in group}

    assert names("en") == names("ru")
    fields = [field.get("name", "") for field in root.iter("field")]
    labels = {name for group, name in names("en") if group == "paymethod.edit.subtc"}
    assert set(fields) <= labels
    private = {box.get("name") for box in root.iter("input") if box.get("private") == "yes"}
    assert private == {"subtc_api_key", "subtc_notify_secret", "subtc_notify_secret_old"}
