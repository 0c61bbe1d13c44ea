"""The settings file: what it accepts, how each fault names its place, and that no secret ever shows."""

import copy
import json
import re
from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.cli.settings_text import shown
from bridge.config import ConfigError, PolicyTerms, Prices, cautions, load_settings, policy_terms, read_policy
from bridge.core.descriptors import checksum_of
from bridge.core.policy import sha256_of

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.yaml"
SECRETS = {
    "BRIDGE_TOKEN_SECRET": "token-" + "t" * 32,
    "SUBTC_KEY": "SUBTC-KEY-" + "5" * 48,
    "BRIDGE_API_KEY": "api-key-" + "a" * 30,
    "BRIDGE_NOTIFY_SECRET": "whsec_" + "bm90aWZ5" * 5,
}


def example() -> dict[str, Any]:
    return dict(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))


def load(tmp_path: Path, document: Any, **environment: str):
    path = tmp_path / "config.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return load_settings(path, SECRETS | environment)


def changed(**changes: Any) -> dict[str, Any]:
    """The example with members replaced; `subtc__key` is `key` of section `subtc`, `merchants__0__id` of a list."""
    document = copy.deepcopy(example())
    for path, value in changes.items():
        *sections, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        target: Any = document
        for section in sections:
            target = target[section]
        target[last] = value
    return document


def fault(tmp_path: Path, document: Any, **environment: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, document, **environment)
    said = str(refused.value)
    for secret in SECRETS.values():
        assert secret not in said
    return said


def test_the_example_loads_with_its_environment(tmp_path: Path) -> None:
    settings = load(tmp_path, EXAMPLE.read_text(encoding="utf-8"))
    assert settings.network == "test"
    assert settings.subtc.key.get_secret_value() == SECRETS["SUBTC_KEY"]
    assert [merchant.id for merchant in settings.merchants] == ["main"]
    policy = settings.merchants[0].policy
    assert policy.rule_for("trusted").tolerance_bps == 50
    assert policy.rule_for(None, failed_attempts=3).name == "exact"
    assert settings.prices.min_sources == 2


@pytest.mark.parametrize("name", SECRETS)
def test_a_missing_environment_variable_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    known = {key: value for key, value in SECRETS.items() if key != name}
    with pytest.raises(ConfigError) as refused:
        load_settings(EXAMPLE, known)
    assert name in str(refused.value)
    assert str(refused.value).removeprefix(f"{EXAMPLE}:").split(": ")[1] in (
        "token_secret",
        "subtc.key",
        "merchants.0.api_keys.0",
        "merchants.0.notify_secrets.0",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": "bitcoin"}, "network: "),
        ({"nonsense": 1}, "nonsense: "),
        ({"subtc__calls_per_minute": 0}, "subtc.calls_per_minute: "),
        ({"subtc__calls_per_minute": "60"}, "subtc.calls_per_minute: "),
        ({"subtc__calls_per_minute": True}, "subtc.calls_per_minute: "),
        ({"subtc__address_mode": "guess"}, "subtc.address_mode: "),
        ({"subtc__surprise": 1}, "subtc.surprise: "),
        ({"prices__min_sources": 4}, "prices: "),
        ({"prices__fixed": {"USD": "65000.00"}}, "prices: "),
        ({"prices__max_spread_bps": 10_001}, "prices.max_spread_bps: "),
        ({"merchants": []}, "merchants: "),
        ({"merchants__0__id": "Main Shop"}, "merchants.0.id: "),
        ({"merchants__0__api_keys": ["short"]}, "merchants.0.api_keys.0: "),
        ({"merchants__0__api_keys": []}, "merchants.0.api_keys: "),
        ({"merchants__0__currencies": ["USD", "XXX"]}, "merchants.0.currencies.1: "),
        (
            {"merchants__0__currencies": ["USD", "ABC"]},
            "merchants.0.currencies.1: The currency 'ABC' is not",
        ),
        ({"merchants__0__currencies": ["BGN"]}, "merchants.0.currencies.0: BGN was replaced by EUR on 2026"),
        ({"merchants__0__currencies": ["CLF"]}, "merchants.0.currencies.0: CLF is a unit of account"),
        ({"merchants__0__policy__exact_tier": "nobody"}, "merchants.0.policy: "),
        ({"merchants__0__policy__default__risk_bps": -1}, "merchants.0.policy.default.risk_bps: "),
        ({"merchants__0__policy__default__invoice_expiry_seconds": 60}, "merchants.0.policy.default: "),
        ({"merchants__0__policy__default__confirmations": [{"up_to_sat": 5, "depth": 0}]}, "confirmations.0.depth: "),
        ({"merchants__0__policy__default__late": "maybe"}, "merchants.0.policy.default.late: "),
        ({"shop__accent": "red"}, "shop.accent: "),
        ({"log_level": "loud"}, "log_level: "),
        ({"token_secret": "short"}, "token_secret: "),
        ({"token_secret": ""}, "token_secret: "),
        ({"subtc__key": ""}, "subtc.key: "),
        ({"merchants__0__notify_secrets": ["not-whsec"]}, "merchants.0.notify_secrets.0: "),
        ({"merchants__0__notify_secrets": ["whsec_???"]}, "merchants.0.notify_secrets.0: "),
        ({"public_url": "http://pay.example.com"}, "public_url: must be https"),
        ({"subtc__base_url": "http://api.example.com"}, "subtc.base_url: must be https"),
        ({"merchants__0__notify_url": "http://billing.example.com/x"}, "merchants.0.notify_url: must be https"),
        ({"subtc__callback_base_url": "http://pay.example.com"}, "subtc.callback_base_url: must be https"),
        ({"subtc__callback_signature_header": "X-Signature"}, "subtc: "),
    ],
)
def test_every_fault_names_its_place(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in fault(tmp_path, changed(**changes))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    said = fault(tmp_path, changed(network="bitcoin", log_level="loud", shop__accent="red"))
    assert len(said.splitlines()) == 3


def test_plain_http_is_for_loopback_and_never_with_real_money(tmp_path: Path) -> None:
    local = {"public_url": "http://127.0.0.1:8080", "subtc__base_url": "http://localhost:9"}
    assert load(tmp_path, changed(**local)).public_url == "http://127.0.0.1:8080"
    assert "public_url: must be https" in fault(tmp_path, changed(network="main", public_url="http://127.0.0.1:8080"))


@pytest.mark.parametrize("name", ["clock_offset_file", "crash_at"])
def test_what_is_for_the_sandbox_is_refused_with_real_money(tmp_path: Path, name: str) -> None:
    assert name in fault(tmp_path, changed(network="main", **{name: "open.claimed"}))


BANK = {
    "name": "cbr", "pair": "USD/RUB", "url": "https://bank.example/daily", "format": "xml", "decimal_comma": True,
    "pointer": "/ValCurs/Valute[CharCode='USD']/Value", "units_pointer": "/ValCurs/Valute[CharCode='USD']/Nominal",
    "time_pointer": "/ValCurs/@Date", "time_zone": "Europe/Moscow", "max_age_seconds": 345_600, "keep_seconds": 3_600,
}  # fmt: skip
EXCHANGE = {"name": "spot", "pair": "BTC/USD", "url": "https://exchange.example/BTC-USD", "pointer": "/price"}


def crossed(bank: dict[str, Any] | None = None, exchange: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The example with a cross rate whose parts are changed; a member that becomes None is left out."""
    parts = [BANK | (bank or {}), EXCHANGE | (exchange or {})]
    kept = [{name: value for name, value in part.items() if value is not None} for part in parts]
    return changed(prices__cross=[{"name": "cbr-x-spot", "parts": kept} | more])


def test_a_cross_rate_is_a_source_for_what_it_leads_to(tmp_path: Path) -> None:
    prices = load(tmp_path, crossed()).prices
    assert [prices.sources_for(currency) for currency in ("RUB", "USD", "EUR")] == [4, 3, 3]
    assert [part.max_age_seconds for part in prices.cross[0].parts] == [345_600, None]
    ecb = {"pair": "USD/{currency}", "pointer": "/ValCurs/Valute[CharCode='{currency}']/Value"}
    assert load(tmp_path, crossed(bank=ecb)).prices.sources_for("EUR") == 4


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"bank": {"pair": "RUB/USD"}}, "prices.cross.0: The pairs must lead from BTC to one currency"),
        (
            {"exchange": {"pair": "BTC/EUR"}},
            "prices.cross.0: The pairs must lead from BTC to one currency",
        ),
        ({"bank": {"pair": "usd/rub"}}, "prices.cross.0.parts.0.pair: "),
        ({"bank": {"pair": None}}, "prices.cross.0.parts.0.pair: is missing"),
        ({"bank": {"url": None}}, "prices.cross.0.parts.0.url: is missing"),
        ({"bank": {"name": "two words"}}, "prices.cross.0.parts.0.name: "),
        ({"bank": {"format": "csv"}}, "prices.cross.0.parts.0.format: "),
        (
            {"bank": {"time_zone": "Moscow"}},
            "prices.cross.0.parts.0.time_zone: unknown time zone 'Moscow'",
        ),
        ({"bank": {"max_age_seconds": 0}}, "prices.cross.0.parts.0.max_age_seconds: "),
        ({"bank": {"keep_seconds": -1}}, "prices.cross.0.parts.0.keep_seconds: "),
        (
            {"bank": {"pair": "USD/{currency}"}},
            "prices.cross.0.parts.0: {currency} stands in the pair just",
        ),
        (
            {"exchange": {"url": "https://x.example/{currency}"}},
            "prices.cross.0.parts.1: {currency} stands",
        ),
        ({"bank": {"pair": "USD/BGN"}}, "prices.cross.0: BGN was replaced by EUR on 2026-01-01"),
        ({"bank": {"pair": "USD/USDT"}}, "prices.cross.0: The currency 'USDT' is not known"),
        ({"bank": {"pointer": "ValCurs/Value"}}, "prices.cross.0.parts.0.pointer: 'ValCurs/Value' is no xml pointer"),
        ({"bank": {"time_pointer": "//@Date"}}, "prices.cross.0.parts.0.time_pointer: "),
        ({"bank": {"units_pointer": "/a[b=c]"}}, "prices.cross.0.parts.0.units_pointer: "),
        ({"exchange": {"pointer": "price"}}, "prices.cross.0.parts.1.pointer: 'price' is no json pointer"),
        ({"exchange": {"pointer": "/~2"}}, "prices.cross.0.parts.1.pointer: "),
        ({"parts": [EXCHANGE]}, "prices.cross.0.parts: "),
        ({"name": "kraken"}, "prices: two sources have the same name: "),
    ],
)
def test_every_fault_of_a_cross_rate_names_its_place(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    assert said in fault(tmp_path, crossed(**parts))


def test_a_merchants_currency_needs_enough_sources_that_may_know_it(tmp_path: Path) -> None:
    few = crossed() | {"merchants": changed(merchants__0__currencies=["RUB", "USD"])["merchants"]}
    few["prices"] |= {"sources": few["prices"]["sources"][:1]}
    said = fault(tmp_path, few)
    assert "merchants.0.currencies: USD has 1 of 2 price sources: no quote could ever be made" in said


ONE_NUMBER = {"name": "ticker", "url": "https://ticker.example/btcusd", "pointer": "/last"}


def with_one_number(*currencies: str, **source: Any) -> dict[str, Any]:
    """The example of a shop with these currencies, and a source besides whose answer is one number."""
    document = changed(merchants__0__currencies=list(currencies))
    document["prices"]["sources"].append(ONE_NUMBER | source)
    return document


def test_a_source_of_one_number_must_say_its_currency_in_a_shop_with_several(tmp_path: Path) -> None:
    said = fault(tmp_path, with_one_number("USD", "RUB"))
    assert "prices.sources.3: ticker would give one number for RUB, USD: write {currency} in its url or pointer" in said
    assert "currency: RUB" in said
    assert "prices.sources.3.currency: BGN was replaced" in fault(tmp_path, with_one_number("USD", currency="BGN"))
    assert "prices.sources.3.currency: " in fault(tmp_path, with_one_number("USD", currency="usd"))
    few = with_one_number("USD", "RUB", currency="USD")
    few["prices"]["sources"] = [few["prices"]["sources"][0], few["prices"]["sources"][-1]]
    assert "merchants.0.currencies: RUB has 1 of 2 price sources" in fault(tmp_path, few)


def test_where_nothing_is_ambiguous_a_source_of_one_number_is_taken_as_it_is(tmp_path: Path) -> None:
    for document in (
        with_one_number("USD"),
        with_one_number("USD", "RUB", currency="USD"),
        with_one_number("USD", "RUB", pointer="/{currency_lower}/last"),
    ):
        assert load(tmp_path, document).prices.sources[-1].name == "ticker"


def test_a_source_of_one_number_is_asked_for_the_only_currency_in_use_and_no_other(tmp_path: Path) -> None:
    terms = policy_terms(load(tmp_path, with_one_number("USD")))
    assert [source.currency for source in terms.asked_prices().sources] == [None, None, None, "USD"]
    # A version that was stored before anybody looked: no price from there rather than a wrong one.
    document = json.loads(terms.document())
    document["merchants"]["main"]["currencies"] = ["USD", "RUB"]
    assert "ticker" not in [source.name for source in read_policy(json.dumps(document)).asked_prices().sources]


def test_a_pointer_of_a_plain_source_is_checked_too(tmp_path: Path) -> None:
    said = fault(tmp_path, changed(prices__sources__1__pointer="data/amount"))
    assert "prices.sources.1.pointer: 'data/amount' is no json pointer" in said


def test_a_written_price_in_a_currency_that_is_history_is_refused(tmp_path: Path) -> None:
    fixed = {"prices__fixed": {"BGN": "120000.00"}, "prices__i_know_fixed_prices_lose_money": True}
    assert "prices.fixed.BGN: BGN was replaced by EUR on 2026-01-01" in fault(tmp_path, changed(**fixed))


def test_a_stored_policy_version_stays_readable_when_its_currency_is_history(tmp_path: Path) -> None:
    document = json.loads(policy_terms(load(tmp_path, crossed())).document())
    document["merchants"]["main"]["currencies"] = ["BGN"]
    document["prices"]["cross"][0]["parts"][0]["pair"] = "USD/BGN"
    document["prices"]["fixed"] = {"BGN": "120000.00"}
    document["prices"]["i_know_fixed_prices_lose_money"] = True
    assert read_policy(json.dumps(document)).merchants["main"].currencies == ("BGN",)


def test_a_policy_version_from_before_cross_rates_says_the_same(tmp_path: Path) -> None:
    terms = policy_terms(load(tmp_path, example()))
    before = json.loads(terms.document())
    del before["prices"]["cross"]
    for source in before["prices"]["sources"]:
        for new in ("format", "units_pointer", "decimal_comma", "time_zone"):
            del source[new]
    assert read_policy(json.dumps(before)).document() == terms.document()


def test_a_stored_policy_version_keeps_its_hash() -> None:
    shop = {
        "currencies": ["USD"],
        "open_invoices_per_customer": 50,
        "stage": {"name": "pilot", "minor_per_day": {"USD": 500}},
        "policy": {"tiers": {"trusted": {"tolerance_bps": 50}}, "exact_tier": "trusted"},
    }
    source = {"name": "a", "url": "https://a.example/{currency}", "pointer": "/p"}
    document = {"approvals": 1, "merchants": {"shop": shop}, "prices": {"min_sources": 1, "sources": [source]}}
    read = read_policy(json.dumps(document | {"payouts": {}, "marks": {}, "treasury": {}}))
    assert sha256_of(read.document()) == "54bb055b4fc7397bf28c33f3200cc8b6b04965df997cf1249d37ab5208853917"


@dataclass(frozen=True, kw_only=True)
class LaterPrices(Prices):
    """As a release will have them that knows one more kind of source."""

    table: tuple[str, ...] = ()


class LaterTerms(PolicyTerms):
    prices: LaterPrices


def test_a_version_that_uses_no_new_kind_of_price_source_is_read_by_who_does_not_know_it(tmp_path: Path) -> None:
    today = policy_terms(load(tmp_path, example())).document()
    later = LaterTerms.model_validate_json(today)
    assert later.document() == today
    used = replace(later.prices, table=("a",))
    assert json.loads(later.model_copy(update={"prices": used}).document())["prices"]["table"] == ["a"]


@pytest.mark.parametrize(
    ("path", "inner"),
    [("merchants__0__policy__default", "name"), ("payouts", "lease_seconds"), ("marks", "min_send_sat")],
)
def test_a_file_names_no_field_that_is_not_a_setting(tmp_path: Path, path: str, inner: str) -> None:
    place = f"{path.replace('__', '.')}.{inner}: there is no such setting"
    assert place in fault(tmp_path, changed(**{path: {inner: 1}})).splitlines()[0]


def test_the_worked_example_of_a_cross_rate_can_be_taken_as_it_stands(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("  cross: []"))
    shown = [line for line in lines[start + 1 :] if line.startswith("  #   ")]
    document = changed(prices__cross=yaml.safe_load("\n".join(line.removeprefix("  #   ") for line in shown)))
    (cross,) = load(tmp_path, document).prices.cross
    assert [part.pair for part in cross.parts] == ["USD/RUB", "BTC/USD"]
    assert (cross.parts[0].format, cross.parts[0].decimal_comma) == ("xml", True)


@pytest.mark.parametrize("lang", ["en", "ru"])
def test_the_guides_example_of_a_cross_rate_loads(tmp_path: Path, lang: str) -> None:
    guide = (ROOT / f"docs/operator-guide.{lang}.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(prices:\n.*?)```", guide, re.DOTALL)
    prices = load(tmp_path, example() | yaml.safe_load(shown)).prices
    assert (prices.sources_for("RUB"), prices.sources_for("EUR")) == (3, 2)
    assert [part.max_age_seconds for part in prices.cross[0].parts] == [345_600, None]


def test_a_key_in_the_address_of_a_part_does_not_show_and_stays_a_reference(tmp_path: Path) -> None:
    url = "https://bank.example/daily?key=${env:PRICE_KEY}"
    settings = load(tmp_path, crossed(bank={"url": url}), PRICE_KEY="the-price-key")
    assert settings.prices.cross[0].parts[0].url == url
    assert "the-price-key" not in repr(settings) + policy_terms(settings).document()


def test_a_fixed_price_needs_its_warning_read(tmp_path: Path) -> None:
    fixed = {"prices__fixed": {"USD": "65000.00"}, "prices__i_know_fixed_prices_lose_money": True}
    assert load(tmp_path, changed(**fixed)).prices.fixed == {"USD": "65000.00"}


@pytest.mark.parametrize(
    ("path", "same_as"),
    [
        ("token_secret", "SUBTC_KEY"),
        ("merchants__0__api_keys__0", "BRIDGE_TOKEN_SECRET"),
        ("merchants__0__notify_secrets__0", "BRIDGE_NOTIFY_SECRET"),
    ],
)
def test_the_same_secret_in_two_roles_is_refused(tmp_path: Path, path: str, same_as: str) -> None:
    changes = {path: f"${{env:{same_as}}}"}
    if same_as == "BRIDGE_NOTIFY_SECRET":
        changes["token_secret"] = f"${{env:{same_as}}}"
    assert "the same secret" in fault(tmp_path, changed(**changes))


def test_two_merchants_may_not_share_a_key_or_a_name(tmp_path: Path) -> None:
    other = example()["merchants"][0]
    assert "the same id" in fault(tmp_path, changed(merchants=[other, other]))
    assert "the same secret" in fault(tmp_path, changed(merchants=[other, other | {"id": "second"}]))


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("SUBTC-KEY-from-a-file\n")
    settings = load(tmp_path, changed(subtc__key=f"${{file:{tmp_path}/key}}"))
    assert settings.subtc.key.get_secret_value() == "SUBTC-KEY-from-a-file"
    assert "subtc.key: " in fault(tmp_path, changed(subtc__key=f"${{file:{tmp_path}/nothing}}"))


def test_no_secret_shows_in_any_text_of_the_settings(tmp_path: Path) -> None:
    url = "postgresql+psycopg://bridge:the-database-password@db/bridge"
    document = changed(
        database_url=url, chain__core_rpc={"url": "http://n", "user": "u", "password": "the-rpc-password"}
    )
    settings = load(tmp_path, document)
    shown = repr(settings) + str(settings) + "".join(repr(merchant) for merchant in settings.merchants)
    for secret in (*SECRETS.values(), "the-database-password", "the-rpc-password"):
        assert secret not in shown


def test_a_key_in_the_address_of_a_price_source_does_not_show(tmp_path: Path) -> None:
    source = {"name": "paid", "url": "https://prices.example/btc-{currency}?key=the-price-key", "pointer": "/p"}
    assert "the-price-key" not in repr(load(tmp_path, changed(prices__sources__0=source)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not YAML"),
        ("", "must be a mapping"),
        ("- 1", "must be a mapping"),
        ("{}", "network: "),
        ("network: !!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_file_that_is_no_settings_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(tmp_path, text)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "nothing.yaml", {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not text"):
        load_settings(tmp_path / "binary.yaml", {})


def test_settings_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    settings = load(tmp_path, example())
    with pytest.raises(Exception, match="frozen"):
        settings.network = "main"


TPUB = "tpubDC3pD7UZXnsgh3EBjbtBQiB1FnLask7UHBSunZ1DPK4dCFFZoFRkgxHB8gt42FvLzx1DpxfHWxAsYaY6b643RVcGjDxXxns7wKKYnnfEcbB"
BODY = f"wpkh({TPUB}/0/*)"
OWN = {"descriptor": f"{BODY}#{checksum_of(BODY)}"}
XPRV = "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQAfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx8UbK"


def test_a_wallet_of_ones_own_needs_no_key_of_a_gateway(tmp_path: Path) -> None:
    settings = load(tmp_path, changed(subtc=None, own_wallet=OWN))
    assert settings.subtc is None
    assert settings.own_wallet.source(network="test").address(0).startswith("tb1q")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"own_wallet": OWN}, "one of subtc and own_wallet"),
        ({"subtc": None}, "one of subtc and own_wallet"),
        ({"subtc": None, "own_wallet": OWN, "chain__esplora": []}, "own_wallet: needs a chain reader"),
        ({"subtc": None, "own_wallet": OWN, "network": "main"}, "own_wallet.descriptor: "),
        ({"subtc": None, "own_wallet": {"descriptor": BODY}}, "The checksum is missing"),
        ({"subtc": None, "own_wallet": {"descriptor": OWN["descriptor"][:-1] + "~"}}, "The checksum does not fit"),
        (
            {"subtc": None, "own_wallet": {"descriptor": f"wpkh({XPRV}/0/*)"}},
            "own_wallet.descriptor: This holds a private",
        ),
        ({"subtc": None, "own_wallet": OWN, "treasury__billing_wallet_id": "wt_1"}, "the bridge sends nothing"),
        ({"treasury__cold_descriptor": BODY}, "treasury.cold_descriptor: "),
        (
            {"subtc": None, "own_wallet": {"descriptor": f"wpkh({TPUB}/<0;0>/*)"}},
            "own_wallet.descriptor: A step <…;…> holds the same alternative twice.",
        ),
        ({"treasury__cold_descriptor": f"tr({TPUB}/**)"}, "treasury.cold_descriptor: /** is short for both branches"),
        ({"treasury__cold_descriptor": f"tr({XPRV}/0/*)"}, "treasury.cold_descriptor: This holds a private"),
        (
            {
                "treasury__cold_descriptor": OWN["descriptor"],
                "treasury__cold_addresses": ["tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"],
            },
            "not both",
        ),
    ],
)
def test_a_descriptor_that_cannot_be_used_is_refused_at_start(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    found = fault(tmp_path, changed(**changes))
    assert said in found
    assert "tprv" not in found


def test_a_notify_secret_may_have_lost_its_padding_and_is_still_one_secret(tmp_path: Path) -> None:
    whole = "whsec_" + b64encode(b"a secret of 22 bytes..").decode()
    bare = whole.rstrip("=")
    assert whole != bare
    kept = load(tmp_path, changed(merchants__0__notify_secrets=[bare])).merchants[0].notify_secrets
    assert [each.get_secret_value() for each in kept] == [bare]
    assert "is the same secret as" in fault(tmp_path, changed(merchants__0__notify_secrets=[whole, bare]))


def test_the_branch_of_change_is_pointed_out_wherever_a_descriptor_stands(tmp_path: Path) -> None:
    change = {"descriptor": f"wpkh({TPUB}/1/*)#{checksum_of(f'wpkh({TPUB}/1/*)')}"}
    cold = {"treasury__cold_descriptor": change["descriptor"], "treasury__sweep_mode": "auto"}
    assert cautions(load(tmp_path, changed(subtc=None, own_wallet=OWN))) == cautions(load(tmp_path, example())) == []
    for changes, path in (
        ({"subtc": None, "own_wallet": change}, "own_wallet.descriptor"),
        (cold, "treasury.cold_descriptor"),
    ):
        (said,) = cautions(load(tmp_path, changed(**changes)))
        assert said.startswith(f"{path}: ") and "/1/*" in said


def test_a_sweep_may_go_to_a_descriptor(tmp_path: Path) -> None:
    treasury = {"treasury__cold_descriptor": OWN["descriptor"], "treasury__sweep_mode": "auto"}
    assert load(tmp_path, changed(**treasury)).treasury.rules(network="test").has_cold


@pytest.mark.parametrize(
    "changes",
    [
        {"chain__core_rpc": {"url": "http://127.0.0.1:1", "user": "u", "password": "${env:SUBTC_KEY}"}},
        {"subtc__callback_signature_secrets": ["${env:BRIDGE_TOKEN_SECRET}"]},
    ],
)
def test_no_other_secret_has_two_roles_either(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "is the same secret as" in fault(tmp_path, changed(**changes))


FORMER = {"wallet_id": "wt_" + "1" * 44, "key": "${env:OLD_KEY}", "base_url": "https://api.subtc.net"}
OLD_KEY = {"OLD_KEY": "SUBTC-KEY-" + "6" * 48}


def test_former_wallets_are_read_with_their_own_key_and_show_none(tmp_path: Path) -> None:
    other = FORMER | {"wallet_id": "wt_" + "2" * 44, "role": "billing"}
    short = {"wallet_id": "wt_" + "3" * 44}
    settings = load(tmp_path, changed(former_wallets=[FORMER, other, short]), **OLD_KEY)
    assert [each.role for each in settings.former_wallets] == ["hot", "billing", "hot"]
    assert settings.former_wallets[2].key is None
    for text in (repr(settings), str(shown(settings))):
        assert OLD_KEY["OLD_KEY"] not in text
    assert shown(settings)["former_wallets.0.key"] == "(secret)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"former_wallets": [FORMER | {"key": "${env:BRIDGE_TOKEN_SECRET}"}]}, "is the same secret as"),
        ({"former_wallets": [FORMER | {"key": ""}]}, "former_wallets.0.key"),
        ({"former_wallets": [FORMER, FORMER]}, "former_wallets.1.wallet_id: is in use, or named twice"),
        (
            {"former_wallets": [FORMER], "subtc__wallet_id": FORMER["wallet_id"]},
            "former_wallets.0.wallet_id: is in use",
        ),
        (
            {"former_wallets": [FORMER], "treasury__billing_wallet_id": FORMER["wallet_id"]},
            "former_wallets.0.wallet_id: is in use",
        ),
        (
            {"former_wallets": [FORMER | {"wallet_id": "wm_" + "1" * 44}]},
            "former_wallets.0.wallet_id: This wallet is not",
        ),
        ({"former_wallets": [FORMER | {"wallet_id": "own_1"}]}, "former_wallets.0.wallet_id: This is not a gateway"),
        (
            {"former_wallets": [FORMER | {"base_url": "http://api.subtc.net"}]},
            "former_wallets.0.base_url: must be https",
        ),
        ({"former_wallets": [FORMER | {"role": "cold"}]}, "former_wallets.0.role"),
        ({"former_wallets": [FORMER | {"notes": "x"}]}, "former_wallets.0.notes"),
        ({"former_wallets": [{"wallet_id": FORMER["wallet_id"]}], "subtc": None, "own_wallet": OWN}, "without subtc"),
    ],
)
def test_a_former_wallet_that_cannot_be_read_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in fault(tmp_path, changed(**changes), **OLD_KEY)


def test_a_fee_that_no_gateway_can_take_is_refused(tmp_path: Path) -> None:
    assert load(tmp_path, changed(subtc__fee_bps=0)).subtc.fee_bps == 0
    for wrong in (-1, 10_000, 3.0, "300"):
        assert "subtc.fee_bps" in fault(tmp_path, changed(subtc__fee_bps=wrong))


LNBITS = {"url": "https://lnbits.example.com", "wallet_id": "a" * 32, "invoice_key": "invoice key of lnbits"}


def test_lightning_is_beside_a_first_way_and_never_alone(tmp_path: Path) -> None:
    settings = load(tmp_path, changed(lnbits=LNBITS))
    assert "invoice key" not in repr(settings.lnbits)
    assert "one of subtc and own_wallet says where payers pay to" in fault(tmp_path, changed(lnbits=LNBITS, subtc=None))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://lnbits.example.com"}, "lnbits.url: must be https"),
        ({"callback_base_url": "http://pay.example.com"}, "lnbits.callback_base_url: must be https"),
        ({"wallet_id": "wt_1"}, "lnbits.wallet_id"),
        ({"invoice_key": ""}, "lnbits.invoice_key"),
        ({"admin_key": "invoice key of lnbits"}, "lnbits.admin_key: is the same secret as lnbits.invoice_key"),
        ({"most_sat": 0}, "lnbits.most_sat"),
        ({"invoices_of": "elsewhere"}, "lnbits.invoices_of"),
    ],
)
def test_what_is_wrong_with_lightning_is_said_by_its_path(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in fault(tmp_path, changed(lnbits=LNBITS | change))


def test_a_pretended_node_is_never_on_the_main_network(tmp_path: Path) -> None:
    assert load(tmp_path, changed(lnbits=LNBITS | {"invoices_of": "main"})).lnbits.invoices_of == "main"
    subtc = {"subtc__wallet_id": "wm_" + "0" * 44, "chain__esplora": ["https://blockstream.info/api"]}
    wanted = changed(network="main", lnbits=LNBITS | {"invoices_of": "main"}, **subtc)
    assert "never with network main" in fault(tmp_path, wanted)


ELECTRUM = {
    "url": "http://127.0.0.1:7777",
    "user": "user",
    "password": "password of electrum",
    "node_id": "02" + "ab" * 32,
}


def test_electrum_is_a_way_beside_the_first_on_this_machine_or_behind_tls(tmp_path: Path) -> None:
    settings = load(tmp_path, changed(electrum=ELECTRUM | {"wallet_password": "of the file"}))
    assert "password of electrum" not in repr(settings) and "of the file" not in repr(settings)
    subtc = {"subtc__wallet_id": "wm_" + "0" * 44, "chain__esplora": ["https://blockstream.info/api"]}
    assert load(tmp_path, changed(network="main", electrum=ELECTRUM, **subtc)).electrum.url == "http://127.0.0.1:7777"
    assert load(tmp_path, changed(electrum=ELECTRUM | {"url": "https://electrum.example.com"})).electrum is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://10.0.0.9:7777"}, "electrum.url: must be https"),
        ({"password": ""}, "electrum.password"),
        ({"user": ""}, "electrum.user"),
        ({"node_id": "04" + "ab" * 32}, "electrum.node_id"),
        ({"most_sat": 0}, "electrum.most_sat"),
        ({"refunds": "perhaps"}, "electrum.refunds"),
    ],
)
def test_what_is_wrong_with_electrum_is_said_by_its_path(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in fault(tmp_path, changed(electrum=ELECTRUM | change))


def test_lightning_refunds_leave_from_one_wallet(tmp_path: Path) -> None:
    both = changed(electrum=ELECTRUM, lnbits=LNBITS | {"admin_key": "admin key of lnbits"})
    assert load(tmp_path, both).electrum is not None
    both["electrum"] = ELECTRUM | {"refunds": True}
    assert "electrum.refunds: refunds over Lightning leave from one wallet, " in fault(tmp_path, both)


MAIL = {"host": "mail.example.com", "sender": "billing@example.com", "username": "billing", "password": "${env:MAIL}"}


def test_a_mail_server_is_spoken_to_over_tls_unless_it_is_on_this_machine(tmp_path: Path) -> None:
    word = "the-word-of-the-mail-server"
    settings = load(tmp_path, changed(mail=MAIL), MAIL=word)
    assert (settings.mail.port, settings.mail.security, settings.mail.password.get_secret_value()) == (
        587,
        "starttls",
        word,
    )
    assert word not in repr(settings)
    here = {"host": "127.0.0.1", "port": 25, "security": "none", "sender": "billing@example.com"}
    assert load(tmp_path, changed(mail=here)).mail.password is None
    assert load(tmp_path, EXAMPLE.read_text(encoding="utf-8")).mail is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"security": "none"}, "mail.security: must be starttls or tls"),
        ({"password": None}, "mail.username: goes with mail.password"),
        ({"sender": "billing@example.com\nBcc: x@y.example"}, "mail.sender"),
        ({"sender": "a..b@example.com"}, "mail.sender: must be one mail address"),
        ({"sender": "billing@example..com"}, "mail.sender: must be one mail address"),
        ({"host": "mail..example.com"}, "mail.host: is no name of a host"),
        ({"host": "mail.example.com:587"}, "mail.host: must be the name of a host alone"),
        ({"host": ""}, "mail.host: must be the name of a host alone"),
        ({"username": "счета@example.com"}, "mail.username: must be letters without accents"),
        ({"port": 0}, "mail.port"),
        ({"password": "${env:SUBTC_KEY}"}, "the same secret"),
    ],
)
def test_a_mail_server_that_is_not_safe_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in fault(tmp_path, changed(mail=MAIL | changes), MAIL="the-word-of-the-mail-server")


def test_a_password_that_no_mail_server_could_be_told_is_refused_and_not_shown(tmp_path: Path) -> None:
    said = fault(tmp_path, changed(mail=MAIL), MAIL="тайное-слово")
    assert "mail.password: must be letters without accents" in said and "тайное" not in said


@pytest.mark.parametrize("host", ["mail", "mail_server", "127.0.0.1", "::1", "почта.example", "mail.example.com."])
def test_the_hosts_of_a_mail_server(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, changed(mail=MAIL | {"host": host}), MAIL="the-word-of-the-mail-server").mail.host == host
