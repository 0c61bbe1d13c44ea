"""The policy page says settings in words and units, in force and where they change."""

import pytest
from pydantic import TypeAdapter

from bridge.config import MerchantTerms, PolicyTerms
from bridge.core.offering import WayRule
from bridge.core.policy import Rule
from bridge.language import languages
from bridge.settings_file import settings_in
from bridge.web.admin.words import Words

EN, RU = (languages().whole[code] for code in ("en", "ru"))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("quote_ttl_seconds", 900, "15 min"),
        ("merchants.shop.policy.default.quote_ttl_seconds", "900", "15 min"),
        ("monitor_seconds", 604_800, "7 d"),
        ("grace_seconds", 0, "0 s"),
        ("risk_bps", 100, "1 %"),
        ("treasury.fee_ceiling_bps", "325", "3.25 %"),
        ("minimum_sat", 1_000, "1,000 sat"),
        ("fee_buffer_minor", {"USD": 25, "JPY": 3}, "0.25 USD, 3 JPY"),
        ("fee_buffer_minor", {}, "–"),
        ("merchants.shop.policy.default.fee_buffer_minor.USD", "25", "0.25 USD"),
        ("confirmations", {"steps": [(500_000, 1)], "above": 6}, "1 confirmation up to 500,000 sat; 6 confirmations"),
        ("a.confirmations.steps", "[500000, 1], [5000000, 2]",
         "1 confirmation up to 500,000 sat; 2 confirmations up to 5,000,000 sat"),
        ("a.confirmations.above", "6", "6 confirmations"),
        ("underpaid", "review", "ask a person at once"),
        ("treasury.sweep_mode", "dry_run", EN("desk.sweep_modes.dry_run")),
        ("treasury.stop_new_invoices", "true", "yes"),
        ("treasury.stop_new_invoices", False, "no"),
        ("approvals", "2", "2"),
        ("prices.sources.kraken.url", "https://kraken.example", "https://kraken.example"),
        ("merchants.shop.stage.minor_per_day.USD", "100000", "1,000.00 USD"),
        ("merchants.shop.stage.minor_per_day", "{}", "no limit"),
        ("merchants.shop.stage.invoices_per_day", "null", "no limit"),
        ("merchants.shop.stage.invoices_per_day", "1000", "1,000"),
        ("merchants.shop.policy.default.confirmations_above", "6", "6 confirmations"),
        ("merchants.shop.stage", "null", "none"),
        ("prices.cross", "[]", "none"),
        ("something.of.a.later.version", "{}", "{}"),
    ],
)  # fmt: skip
def test_a_value_is_told_with_its_unit(path, value, expected):
    assert Words(EN).setting_value(path, value).replace("\u00a0", " ") == expected


@pytest.mark.parametrize("texts", [EN, RU], ids=["en", "ru"])
def test_every_rule_of_a_merchant_has_a_name(texts):
    words = Words(texts)
    for name in Rule().values():
        assert name == "name" or words.setting_name(f"merchants.shop.policy.default.{name}") != name


@pytest.mark.parametrize("texts", [EN, RU], ids=["en", "ru"])
def test_whatever_may_change_in_a_version_has_a_name(texts):
    words = Words(texts)
    terms, merchant = PolicyTerms.model_json_schema(), MerchantTerms.model_json_schema()
    way = TypeAdapter(WayRule).json_schema()
    # The sections themselves, what they are called by, and what is in no document.
    not_said = {"policy", "policy.version", "policy.default", "treasury.billing_wallet_id"}
    not_said |= {"prices.cross.0.parts", *terms["properties"]}
    paths = {".".join(at) for schema in (terms, merchant, way) for at, _ in settings_in(schema)} - not_said
    assert {path for path in paths if words.setting_name(path) == path.rpartition(".")[2]} == set()


def test_a_setting_is_called_by_its_path_and_one_of_later_as_it_is_written():
    name = Words(EN).setting_name
    assert name("merchants.shop.policy.default.fee_buffer_minor.USD") == "Network share, USD"
    assert name("merchants.shop.stage.minor_per_day.USD") == "Sum that may be opened in a day, USD"
    assert name("a.confirmations.steps") == "Confirmations needed" and name("x.new_rule") == "new_rule"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0 s"), (59, "59 s"), (90, "1 min 30 s"), (5_400, "1 h 30 min"), (90_000, "1 d 1 h")]
)
def test_a_duration_is_told_in_its_largest_units(seconds, expected):
    assert Words(EN).setting_value("quote_ttl_seconds", seconds).replace("\u00a0", " ") == expected
