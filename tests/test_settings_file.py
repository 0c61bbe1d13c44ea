"""Faults of the settings file, as who wrote it reads them: the line, what is expected, an example, the nearest name, one each."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import ConfigError, Settings, load_column_map, load_settings
from bridge.settings_file import At, example, expectation, schema_at, settings_in
from bridge.web import Shop

SCHEMA = Settings.model_json_schema()
EVERY = dict(settings_in(SCHEMA))
SECTIONS = sorted({at[0] for at in EVERY})
# How the libraries would word a fault.
FOREIGN = re.compile(
    r"Input should|Extra inputs|Field required|Value error|valid (string|integer)|<block|mapping val|None"
)
HERE = "here-it-is"
SECRETS = {
    "ONE": "whsec_" + "b25lc2VjcmV0" * 3,
    "TWO": "a second secret of 32 characters",
    "KEY": "SUBTC-KEY-" + "5" * 48,
}


def _base() -> dict[str, Any]:
    """The least that can be used."""
    source = {"name": "a", "url": "https://a.example/{currency}", "pointer": "/p"}
    shop = {"id": "main", "api_keys": ["a key of 24 characters or more"], "currencies": ["RUB"]}
    return {
        "network": "test",
        "database_url": "sqlite:///var/bridge.db",
        "public_url": "https://pay.example.com",
        "token_secret": "${env:TWO}",
        "subtc": {"base_url": "https://api.subtc.net", "key": "${env:KEY}", "wallet_id": "wt_" + "0" * 44},
        "prices": {"sources": [source, source | {"name": "b"}]},
        "merchants": [shop | {"notify_secrets": ["${env:ONE}"]}],
    }


def _around(document: Any, at: At) -> Any:
    """The section or list in which `at` stands, made with what it needs where it is not there."""
    for depth in range(1, len(at)):
        its, part = schema_at(at[:depth], SCHEMA), at[depth - 1]
        if isinstance(document, list):
            document += [_needed(its)] * (not document)
            document = document[int(part)]
        else:
            document = document.setdefault(part, [] if its.get("type") == "array" else _needed(its))
    return document


def _needed(its: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: example(its["properties"][name], SCHEMA, name=name) for name in its.get("required", ())}
    return {name: "anything" if "${file:" in str(value) else copy.deepcopy(value) for name, value in shown.items()}


def _faults(tmp_path: Path, document: Any, environment: Mapping[str, str] = SECRETS) -> list[str]:
    """The lines that are said of the file, each without the file's name."""
    path = tmp_path / "config.yaml"
    text = document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_settings(path, environment)
    said = str(refused.value)
    assert not FOREIGN.search(said), said
    lines = said.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines), said
    return [line.removeprefix(f"{path}:") for line in lines]


def _line_of(tmp_path: Path, words: str) -> int:
    rows = (tmp_path / "config.yaml").read_text(encoding="utf-8").splitlines()
    return next(number for number, row in enumerate(rows, 1) if words in row)


def test_the_base_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(_base()), encoding="utf-8")
    assert load_settings(tmp_path / "config.yaml", SECRETS).listen == "127.0.0.1:8080"


@pytest.mark.parametrize("section", SECTIONS)
def test_a_value_of_another_kind_is_told_with_its_line_what_is_expected_and_an_example(
    tmp_path: Path, section: str
) -> None:
    for at in (each for each in EVERY if each[0] == section):
        is_text = EVERY[at].get("type") == "string"
        document = _base()
        _around(document, at)[at[-1]] = [HERE] if is_text else HERE
        (said,) = _faults(tmp_path, document)
        assert HERE not in said
        line = _line_of(tmp_path, HERE) - is_text
        assert said.startswith(f"{line}: {'.'.join(at)}: must be {expectation(EVERY[at])}, such as "), said
        assert list(yaml.safe_load(said.partition(", such as ")[2])) == [at[-1]], said


@pytest.mark.parametrize("section", SECTIONS)
def test_a_misspelled_name_is_one_fault_that_names_the_nearest(tmp_path: Path, section: str) -> None:
    for at in (each for each in EVERY if each[0] == section):
        wrong, document = at[-1] + at[-1][-1], _base()
        around = _around(document, at)
        around.pop(at[-1], None)
        around[wrong] = HERE
        (said,) = _faults(tmp_path, document)
        assert (
            said
            == f"{_line_of(tmp_path, HERE)}: {'.'.join((*at[:-1], wrong))}: there is no such setting. Is {at[-1]} meant?"
        )


NEEDED = [at for at in EVERY if at[-1] in schema_at(at[:-1], SCHEMA).get("required", ())]


@pytest.mark.parametrize("at", NEEDED, ids=".".join)
def test_what_is_missing_or_empty_is_told_with_an_example(tmp_path: Path, at: At) -> None:
    document = _base()
    around = _around(document, at)
    around[at[-1]] = None
    (said,) = _faults(tmp_path, document)
    line = _line_of(tmp_path, f"{at[-1]}: null")
    assert said.startswith(f"{line}: {'.'.join(at)}: is empty and must be {expectation(EVERY[at])}, such as "), said
    del around[at[-1]]
    (said,) = _faults(tmp_path, document)
    assert re.match(rf"\d+: {re.escape('.'.join(at))}: is missing: {re.escape(expectation(EVERY[at]))}, such as ", said)
    line = int(said.partition(":")[0])
    assert line == 1 if len(at) == 1 else line <= _line_of(tmp_path, at[0]) + 30


@pytest.mark.parametrize("section", SECTIONS)
def test_an_example_that_is_shown_is_one_that_its_setting_takes(tmp_path: Path, section: str) -> None:
    for at in (each for each in EVERY if each[0] == section):
        shown = example(EVERY[at], SCHEMA, name=at[-1])
        assert shown is not None
        document = _base()
        _around(document, at)[at[-1]] = "anything" if "${file:" in str(shown) else shown
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        try:
            load_settings(tmp_path / "config.yaml", SECRETS)
        except ConfigError as refused:
            # A secret is only told where it may lie; what is wrong together with other settings is another matter.
            assert "${file:" in str(shown) or f": {'.'.join(at)}: must be" not in str(refused), refused


HEAD = "network: test\ndatabase_url: sqlite:///var/bridge.db\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "listn: 127.0.0.1:8080\n", "3: listn: there is no such setting. Is listen meant?"),
        (HEAD + "Network: test\n", "3: Network: there is no such setting. Is network meant?"),
        (HEAD + "min_sources: 3\n", "3: min_sources: there is no such setting here. It stands under prices"),
        (HEAD + "frobnicate: 3\n", "3: frobnicate: there is no such setting. Here may stand network, database_url, "),
        (HEAD + "listen: 8080\n", "3: listen: must be HOST:PORT, such as listen: 127.0.0.1:8080"),
        (HEAD + 'listen: "8080"\n', "3: listen: must be HOST:PORT, such as listen: 127.0.0.1:8080"),
        (HEAD + "listen: localhost\n", "3: listen: must be HOST:PORT, such as listen: 127.0.0.1:8080"),
        (HEAD + "listen: 127.0.0.1:80800\n", "3: listen: there is no port 80800: the highest is 65535"),
        (HEAD + 'web_threads: "8"\n', "3: web_threads: must be a whole number, 1 or more, without quotes, such as "),
        (HEAD + "shop:\n  name: 7\n", "4: shop.name: must be text, in quotes, such as name: Hosting"),
        (HEAD + "merchants:\n- currencies: [5]\n", "4: merchants.0.currencies.0: must be text, in quotes, such as RUB"),
        (
            HEAD + "prices:\n  sources:\n  - url: {currency}\n",
            "5: prices.sources.0.url: must be text, in quotes, such as url: https",
        ),
        (
            HEAD + "merchants:\n- policy: {tiers: {vip: {tolerence_bps: 10}}}\n",
            "4: merchants.0.policy.tiers.vip.tolerence_bps: there is no such setting. Is tolerance_bps meant?",
        ),
        (
            HEAD + "web_threads: 2026-02-30\n",
            "3: web_threads: must be a whole number, 1 or more, such as web_threads: 8",
        ),
        (HEAD + "8080: x\n", "3: 8080: there is no such setting. Here may stand "),
        (HEAD + "on: x\n", "3: on: there is no such setting. Here may stand "),
        (
            "database_url: /var/lib/bridge.db\n",
            "1: database_url: is a path alone: write sqlite:/// before it, such as ",
        ),
        (
            "database_url: bridge.db\n",
            "1: database_url: must begin with sqlite:/// before a path, or with postgresql://",
        ),
        ("database_url: sqlite://bridge.db\n", "1: database_url: must begin with sqlite:/// before a path, or with"),
        ("database_url: mysql://x/y\n", "1: database_url: must begin with sqlite:/// before a path, or with postgres"),
        (
            HEAD + "merchants:\n- currencies: [rub]\n",
            "4: merchants.0.currencies.0: The currency 'rub' is not known. Is RUB meant?",
        ),
        (
            HEAD + "merchants:\n- currencies:\n  - USD\n  - USDT\n",
            "6: merchants.0.currencies.1: The currency 'USDT' is not",
        ),
        (
            HEAD + "merchants:\n- api_keys: [short]\n",
            "4: merchants.0.api_keys.0: an API key needs at least 24 characters",
        ),
        (
            HEAD + "merchants:\n- offering: {bitcion: {}}\n",
            "4: merchants.0.offering.bitcion: there is no such setting. Is bitcoin",
        ),
        (
            HEAD + "books:\n  time_zone: Moscow\n",
            "4: books.time_zone: unknown time zone 'Moscow': take a name such as Europe/",
        ),
        (HEAD + "token_secret: ${evn:TWO}\n", "3: token_secret: ${evn:…} is no reference. Is ${env:…} meant?"),
        (HEAD + "token_secret: ${env:NONE}\n", "3: token_secret: the environment has no NONE"),
    ],
)
def test_what_a_newcomer_writes_is_told_by_line(tmp_path: Path, text: str, said: str) -> None:
    told = _faults(tmp_path, text)
    assert any(line.startswith(said) for line in told) and not any("?," in line for line in told), told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a: 1\nmerchants: []\nb: 2\nmerchants: []\n",
            "4: merchants: is there already, in line 2: a name may stand once",
        ),
        ("subtc:\n  key: a\n  key: b\n", "3: subtc.key: is there already, in line 2"),
        ("shop: {name: a, name: b}\n", "1: shop.name: is there already, in line 1"),
        ("merchants:\n- id: a\n  id: b\n", "3: merchants.0.id: is there already, in line 2"),
        ("shop:\n\tname: a\n", "2: not YAML: a tab"),
        ("shop:\n  name: a\n \taccent: b\n", "3: not YAML: a tab"),
        ('a: 1\nname: "Hosting\nb: 2\n', "2: not YAML: the quote that is opened here is never closed"),
        ("a: 1\nname: 'Hosting\nb: 2\n", "2: not YAML: the quote that is opened here is never closed"),
        (
            'shop:\n  name: "Hosting\n  accent: "#b45309"\n',
            "2: shop.name: the quote that is opened here ends only in line 3",
        ),
        ('name: "Hosting\nurl: "https://a"\n', "1: not YAML: the quote that is opened here ends only in line 2"),
        ("a: [1, 2\nb: 3\n", "2: not YAML: the list [ that line 1 opens is not closed by ]"),
        ("a: {b: 1\nc: 3\n", "2: not YAML: the { that line 1 opens is not closed by }"),
        ("a: [${env:ONE}]\n", "1: not YAML: "),
        ("a: 1\nlisten 127.0.0.1\nb: 2\n", "2: not YAML: a name without a colon after it"),
        ("name: shop: mine\n", "1: not YAML: a second colon"),
        ("a: 1\n  b: 2\n", "2: not YAML: a second colon, or a line that is indented unlike the one above it"),
        ("shop:\n    name: a\n  accent: b\n", "3: not YAML: indented unlike what is around it"),
        ("a: @b\n", "1: not YAML: begins with a character that means something in YAML"),
        ("a: *b\n", "1: not YAML: begins with *, which means something"),
        ("a: !b c\n", "1: not YAML: begins with !, which means something"),
        ("a: b\n--- \nc: d\n", "2: not YAML: a second document begins here"),
        ("a: 0x_\n", "1: not YAML: a number that is none"),
        ("a: " + "[" * 5_000, "1: not YAML: a number that is none, or too many brackets"),
        ("a: \x07\n", "1: not YAML: a character that cannot be seen"),
        ("a: &a [*a]\n", "1: a.0: must not refer to itself"),
        ("- 1\n", "1: must be a mapping of settings"),
        ("", "1: must be a mapping of settings"),
    ],
)
def test_what_is_no_yaml_or_says_a_name_twice_is_the_one_fault(tmp_path: Path, text: str, said: str) -> None:
    (line,) = _faults(tmp_path, text)
    assert line.startswith(said), line


def test_what_is_wrong_together_is_told_at_once_each_by_its_own_path(tmp_path: Path) -> None:
    document = _base() | {"public_url": "http://pay.example.com", "token_secret": "${env:KEY}"}
    document["merchants"][0] |= {"notify_url": "http://billing.example.com", "currencies": ["RUB", "USD"]}
    document["prices"]["sources"][1] |= {"currency": "RUB"}
    told = [line.split(": ")[1:3] for line in _faults(tmp_path, document)]
    assert [at for at, _ in told] == [
        "public_url",
        "subtc.key",
        "merchants.0.currencies",
        "merchants.0.notify_url",
    ]
    assert told[1] == ["subtc.key", "is the same secret as token_secret"]


def test_a_secret_that_cannot_be_read_hides_no_other_fault_and_makes_none(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    document = _base() | {"listen": 8080, "token_secret": f"${{file:{tmp_path}/binary}}"}
    document["merchants"][0] |= {"notify_secrets": ["${env:NONE}"]}
    assert [line.partition(": ")[2].partition(", such")[0] for line in _faults(tmp_path, document)] == [
        f"token_secret: {tmp_path}/binary is not text in UTF-8",
        "merchants.0.notify_secrets.0: the environment has no NONE",
        "listen: must be HOST:PORT",
    ]


def test_a_fault_of_a_column_map_has_its_line_and_words_too(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    for text, said in (
        ("columns:\n- {name: Number, feild: id}\n", "2: columns.0.feild: there is no such setting. Is field meant?"),
        ("columns: []\n", "1: columns: must be a list of at least 1, such as columns: [{name: Number}]"),
        ("columns: [{name: a}]\nencoding: latin\n", "2: encoding: must be utf-8, utf-8-sig or cp1251, such as "),
        ("columns: [{name: a}]\ncolumns: []\n", "2: columns: is there already, in line 1"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as refused:
            load_column_map(path)
        assert str(refused.value).startswith(f"{path}:{said}"), refused.value


@pytest.mark.parametrize(
    ("shop", "said"),
    [
        ('note: {en: "one\\ntwo"}', "shop.note.en: must be one line of at most 400 characters"),
        ("note:\n    en: |-\n      one\n      two", "shop.note.en: must be one line of at most 400 characters"),
        ('note: {en: ""}', "shop.note.en: must be one line of at most 400 characters"),
        ("note: {EN: Example}", "shop.note.EN: must be the code of a language in two or three small letters"),
        ("note: {pt-br: Example}", "shop.note.pt-br: must be the code of a language in two or three small letters"),
        ("support_url: javascript:alert(1)", "shop.support_url: must be an address that begins with https://"),
        ('support_url: "https://a.example/\\x1c"', "shop.support_url: must be an address that begins with https://"),
        ("logo_url: https://cdn.example/a.svg", "shop.logo_url: must be a path on this server"),
        ("explorer_url_template: https://a.example/tx/", "shop.explorer_url_template: must be an address that"),
    ],
)
def test_what_the_payers_pages_could_not_show_is_a_fault_of_the_settings(tmp_path: Path, shop: str, said: str) -> None:
    text = yaml.safe_dump(_base(), sort_keys=False)
    (fault,) = _faults(tmp_path, f"{text}shop:\n  {shop}\n")
    line = _line_of(tmp_path, "shop:") + 1
    assert fault.startswith((f"{line}: {said}", f"{line + 1}: {said}")), fault


def test_a_shop_that_the_settings_take_can_be_shown(tmp_path: Path) -> None:
    shown = {"note": {"en": "Example", "fil": "Halimbawa"}, "support_url": "mailto:a@b.example", "logo_url": "/a.svg"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(_base() | {"shop": shown}), encoding="utf-8")
    assert Shop(**load_settings(tmp_path / "config.yaml", SECRETS).shop.model_dump()).note_in("fil") == "Halimbawa"
