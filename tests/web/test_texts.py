"""Every language says everything, in its own grammar."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.core.books import Calendar
from bridge.core.errors import Refused
from bridge.core.kinds import KINDS, REASONS, REVIEWS, RULINGS, SCENES, WITHDRAWN
from bridge.core.offering import BITCOIN, WAYS
from bridge.language import CATALOGUES, Languages, plain_texts

LANGUAGES = Languages().all
# Those that speak to the shop's people too.
WHOLE = Languages().whole
# All that payers read.
PAYERS = ("service.", "errors.", "labels.", "ways.", "sums.", "receipt.", "refund.")
SENTENCES = ("title", "happened", "next", "you")
FAMILIES = {"none", "chain", "quote", "verification", "service"}


def paths_of(node, prefix=""):
    """Every sentence of a catalogue by its path; grammar may differ between languages, sentences may not."""
    for name, child in node.items():
        if isinstance(child, dict):
            yield from paths_of(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def sentences_of(texts):
    grammar = ("plural_rules", "counts", "symbols", "number", "date", "code", "name", "money")
    return {p: s for p, s in paths_of(texts._catalogue) if p.split(".")[0] not in grammar}


def test_there_is_english_and_russian_for_all_and_german_for_payers():
    assert (list(WHOLE), list(LANGUAGES)) == (["en", "ru"], ["de", "en", "ru"])
    assert {path.stem for path in CATALOGUES.glob("*.json")} == set(LANGUAGES)


@pytest.mark.parametrize("code", WHOLE)
def test_every_kind_has_its_sentences_and_no_other_is_there(code):
    told = LANGUAGES[code].section("kinds")
    assert told.keys() == KINDS.keys() | SCENES.keys()
    for key, sentences in told.items():
        wanted = {"reason"} if key in REASONS else set()
        wanted |= {"page"} if key in SCENES else set()
        wanted |= {"name", "is", "do"} if key in REVIEWS else set()
        wanted |= {"withdrawn"} if key in REVIEWS and REVIEWS[key].withdrawn_when else set()
        assert set(sentences) == wanted, key
        page = sentences.get("page", dict.fromkeys(SENTENCES, "none"))
        assert set(page) == set(SENTENCES)
        assert all(re.search(r"\w{2,}", each) for each in (*page.values(), *map(str, sentences.values()))), key


def test_what_is_noted_of_a_question_that_answered_itself_is_what_english_says():
    noted = {kind: review.withdrawn_when for kind, review in REVIEWS.items() if review.withdrawn_when}
    assert noted == {kind: LANGUAGES["en"](f"kinds.{kind}.withdrawn") for kind in noted}


@pytest.mark.parametrize("code", WHOLE)
def test_every_ruling_says_what_it_is_and_what_follows(code):
    told = LANGUAGES[code].section("rulings")
    assert told.keys() == {*RULINGS, WITHDRAWN}
    assert all(told[ruling].keys() == {"is", "consequence"} for ruling in RULINGS)


def test_every_scene_is_of_a_known_kind():
    assert {scene.family for scene in SCENES.values()} == FAMILIES
    assert {scene.service for scene in SCENES.values()} == set(LANGUAGES["en"].section("service"))


def test_an_address_and_a_new_price_are_never_offered_together():
    assert not any(scene.may_pay and scene.may_requote for scene in SCENES.values())


@pytest.mark.parametrize("code", WHOLE)
def test_a_catalogue_has_what_english_has_with_the_same_placeholders(code):
    require_same(sentences_of(LANGUAGES["en"]), sentences_of(LANGUAGES[code]))


@pytest.mark.parametrize("code", LANGUAGES)
def test_payers_read_everything_in_their_own_language(code):
    """Where a file holds no more than that, it is one for payers, and the shop's people are not offered it."""
    english, other = (payers_of(LANGUAGES[each]) for each in ("en", code))
    require_same(english, other)
    beyond = set(sentences_of(LANGUAGES[code])) - set(other)
    assert code in WHOLE or {path for path in beyond if not path.startswith("story.ways.")} == set()


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_way_beside_the_address_has_words_of_its_own(code):
    english, told = (LANGUAGES[each].section("ways.by") for each in ("en", code))
    assert told.keys() == {*WAYS} - {BITCOIN}
    for words in told.values():
        assert dict(paths_of(words)).keys() == dict(paths_of(english["lightning"])).keys()


def payers_of(texts):
    return {p: s for p, s in sentences_of(texts).items() if p.startswith(PAYERS) or re.match(r"kinds\.\w+\.page\.", p)}


def require_same(english, other):
    assert set(english) == set(other)
    for path, sentence in english.items():
        wanted, found = (set(re.findall(r"\{(\w+)\}", text)) for text in (sentence, other[path]))
        assert found == wanted, path
        assert other[path].strip() == other[path] != "", path


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_catalogue_has_every_form_its_plurals_need(code):
    texts = LANGUAGES[code]
    forms = {*texts.section("plural_rules"), "other"}
    assert all(set(of) == forms for of in texts.section("counts").values())
    assert len(texts.section("date.months")) == 12


@pytest.mark.parametrize(
    ("n", "shown"),
    [
        (0, "0 подтверждений"),
        (1, "1 подтверждение"),
        (2, "2 подтверждения"),
        (5, "5 подтверждений"),
        (11, "11 подтверждений"),
        (12, "12 подтверждений"),
        (21, "21 подтверждение"),
        (22, "22 подтверждения"),
        (111, "111 подтверждений"),
        (1_002, "1 002 подтверждения"),
    ],
)
def test_russian_counts(n, shown):
    assert LANGUAGES["ru"].count("confirmation", n).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(("n", "shown"), [(0, "0 confirmations"), (1, "1 confirmation"), (21, "21 confirmations")])
def test_english_counts(n, shown):
    assert LANGUAGES["en"].count("confirmation", n).replace("\u00a0", " ") == shown


def test_numbers_money_and_dates_look_as_people_write_them():
    en, ru = LANGUAGES["en"], LANGUAGES["ru"]
    at = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    assert en.money("1234567.50", "USD").replace("\u00a0", " ") == "1,234,567.50 USD"
    assert ru.money("1234567.50", "RUB").replace("\u00a0", " ") == "1 234 567,50 ₽"
    assert en.money("1000", "JPY").replace("\u00a0", " ") == "1,000 JPY"
    assert (en.number("-0.01"), en.number("-1234.50"), ru.number("-0.01")) == ("-0.01", "-1,234.50", "-0,01")
    assert en.plain.when(at) == "4 March 2026, 05:06 UTC" and ru.plain.when(at) == "4 марта 2026, 05:06 UTC"


def test_a_line_of_a_page_breaks_neither_within_a_day_or_a_time_nor_before_a_unit_or_a_dash():
    at = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    assert LANGUAGES["en"].when(at) == "4\u00a0March\u00a02026, 05:06\u00a0UTC"
    assert LANGUAGES["ru"].when(at) == "4\u00a0марта\u00a02026\u00a0г., 05:06\u00a0UTC"
    texts = LANGUAGES["ru"]
    assert "0.5\u00a0BTC" in texts("kinds.seen.page.happened", received="0.5")
    assert "(1\u00a0%)" in texts("labels.risk", percent="1")
    assert "цене\u00a0— 5" in texts("sums.worth", worth="5") and "цене — 5" in texts.plain("sums.worth", worth="5")
    # What is filled in stays as it is.
    assert "А — Б" in texts("kinds.settled.page.next", shop="А — Б")


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        (["", "ru", "en"], "ru"),
        (["ru_RU"], "ru"),
        (["ru-KZ"], "ru"),
        (["fr", "xx", "ru"], "ru"),
        (["de-AT", "ru"], "de"),
        (["xx"], "en"),
        ([], "en"),
        (["../../etc/passwd"], "en"),
    ],
)
def test_the_first_language_that_we_speak_is_chosen(wishes, code):
    assert Languages().choose(wishes).code == code


def test_the_shops_people_are_not_offered_what_only_payers_read():
    assert Languages().choose(["de", "ru"], whole=True).code == "ru"
    with pytest.raises(Refused, match="The languages are en, ru"):
        plain_texts("de")


def test_a_new_language_is_one_file(tmp_path):
    for path in CATALOGUES.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    catalogue = json.loads((CATALOGUES / "en.json").read_text()) | {"code": "eo", "name": "Esperanto"}
    (tmp_path / "eo.json").write_text(json.dumps(catalogue))
    assert Languages(tmp_path).choose(["eo"]).name == "Esperanto"


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_catalogue_says_each_name_once(code: str) -> None:
    """JSON itself takes the last of two and says nothing."""
    said_twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        said_twice.extend(name for name in set(names) if names.count(name) > 1)
        return dict(pairs)

    json.loads((CATALOGUES / f"{code}.json").read_text(), object_pairs_hook=once)
    assert said_twice == []


def test_a_time_is_told_in_the_zone_of_the_books_where_it_is_asked_for():
    at = datetime(2026, 3, 31, 22, 31, tzinfo=UTC)
    english = Languages().all["en"]
    assert english.plain.when(at) == "31 March 2026, 22:31 UTC"
    assert english.by(Calendar(time_zone="Europe/Moscow")).plain.when(at) == "1 April 2026, 01:31 MSK"
    assert english.plain.by(Calendar(time_zone="Asia/Dubai")).when(at) == "1 April 2026, 02:31 UTC+04"
