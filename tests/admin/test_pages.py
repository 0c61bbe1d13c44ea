"""What the pages say: every page in every language, hostile names harmless, nothing inline, texts complete."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

import bridge.actions
import bridge.web
from bridge.actions.upkeep import REPLAYED
from bridge.core.kinds import REVIEW_OWNERS
from bridge.core.ledger import ACCOUNTS
from bridge.core.payout import KINDS, STATES, VARIANTS, SweepMode
from bridge.core.roles import ROLES
from bridge.desk.day_report import report
from bridge.desk.desk import series
from bridge.language import languages
from bridge.permit import MODES, WALLET_MODES
from bridge.upkeep.check import OWNERS
from bridge.web.admin.charts import DASH, FLOOR, LEFT, ROOM, TOP, WIDTH, bars, levels
from tests.admin.office import Office
from tests.builders import unguard

FORMS = Path(bridge.web.__file__).parent / "admin"
ACTIONS = Path(bridge.actions.__file__).parent
CATALOGUES = {code: texts.section("desk") for code, texts in languages().whole.items()}
PAGES = ["/", "/health", "/search?q=nothing", "/invoices", "/reviews", "/deliveries", "/payouts", "/treasury"]
PAGES += ["/reconciliation", "/policy", "/audit?verify=1", "/modes", "/exports"]
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}\u202e"


@pytest.mark.parametrize("code", ["en", "ru"])
def test_every_code_that_can_be_shown_has_words(code):
    catalogue = CATALOGUES[code]
    assert set(catalogue["payout_states"]) == set(STATES) and set(catalogue["payout_kinds"]) == set(KINDS)
    assert set(catalogue["variants"]) == set(VARIANTS) and set(catalogue["roles"]) == set(ROLES)
    assert set(catalogue["sweep_modes"]) == set(get_args(SweepMode))
    assert set(catalogue["mode_names"]) == set(catalogue["mode_effects"]) == {*MODES, *WALLET_MODES}


def test_everything_that_a_form_answers_has_words():
    by_hand = [call.args[0] for path in FORMS.glob("*.py") for call in calls_of("done", path)]
    forms = [call for path in ACTIONS.glob("*.py") for call in calls_of("Form", path)]
    made = [part.value for call in forms for part in call.keywords if part.arg == "done"]
    # The one call that says what a row says is none of its own.
    said = [codes_of(node) for node in [*by_hand, *made] if "sent.done" not in ast.unparse(node)]
    said.append(set(REPLAYED.values()))
    assert len(said) > 20 and all(said)
    for catalogue in CATALOGUES.values():
        assert set(catalogue["done"]) == set().union(*said)


def calls_of(name: str, path: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == name]


def codes_of(node: ast.expr) -> set[str]:
    """The texts that an expression can be: either side of an "if", what a table is asked for, a function's result."""
    if isinstance(node, ast.Constant):
        return {node.value}
    if isinstance(node, ast.Lambda):
        return codes_of(node.body)
    return set().union(*map(codes_of, [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.args[1:]))


@pytest.mark.parametrize("code", ["en", "ru"])
def test_the_figures_of_the_day_have_words(small_office, code):
    told = report(small_office.bridge, small_office.bridge.clock().date())
    assert set(told["sat"]) == set(CATALOGUES[code]["figures"])
    assert set(told["counts"]) == set(CATALOGUES[code]["counts"])
    assert {each["name"] for each in told["sums"]} == set(CATALOGUES[code]["sums"])


def furnish(office: Office, *, is_late: bool = True) -> list[str]:
    """Something on every list, under hostile names; all pages."""
    if is_late:
        office.late()
    customer = {"id": HOSTILE[:64], "email": "a@b.example"}
    invoice = office.settled(amount="100.00", description=HOSTILE, customer=customer)
    payout = office.propose(invoice)
    delivery = office.parked()
    review = re.findall(r"/admin/reviews/(rev_\w+)", office.see("vic", "/reviews"))[0]
    office.fill("fay", "/modes", "/set", scope="bridge", mode="limited", reason=HOSTILE)
    run = (
        office.fill("fay", "/reconciliation", "/run", reason=HOSTILE).location.partition("?")[0].removeprefix("/admin")
    )
    more = [f"/invoices/{invoice['id']}", f"/payouts/{payout}", f"/deliveries/{delivery}", f"/reviews/{review}", run]
    return [*PAGES, *more]


def test_every_page_opens_in_every_language_and_carries_nothing_hostile_or_inline(small_office):
    for path in furnish(small_office):
        for lang in ("en", "ru"):
            joint = "&" if "?" in path else "?"
            response = small_office.client("fay").get(f"/admin{path}{joint}lang={lang}")
            assert response.status_code == 200, path
            text = response.text
            assert f'<html lang="{lang}">' in text
            assert "<script>alert" not in text and "onerror=alert(2)>" not in text.replace("&gt;", ""), path
            assert "49" not in re.findall(r"'(\d+)\u202e", text)
            assert not re.search(r"<[^>]+\s(style|on\w+)=", text), path
            assert re.findall(r"<script(?![^>]*\bsrc=)", text) == [] and text.count("<style>") == 1, path
            assert response.headers["Cache-Control"] == "no-store"
            assert "script-src 'self'" in response.headers["Content-Security-Policy"]


class Sentences(HTMLParser):
    """What a page says in words of its own: no code, no raw text, nothing that people or other programs wrote."""

    RAW = frozenset({"script", "style", "bdi", "code", "pre", "title"})
    VOID = frozenset({"meta", "link", "input", "img", "br", "hr", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.said += [named[name] or "" for name in ("aria-label", "data-label", "placeholder") if name in named]
        is_raw = tag in self.RAW or "mono" in (named.get("class") or "").split() or named.get("lang") == "en"
        if tag not in self.VOID:
            self.open.append((tag, is_raw))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, text: str) -> None:
        if not any(is_raw for _, is_raw in self.open):
            self.said.append(text.strip())


# Names that are the same in every language, currencies, and what is written like inv_3f…: an id.
NAMES = re.compile(
    r"BILLmanager|SUBTC|Bitcoin|BTC|UTC|CSV|JSON|beancount|USD|RUB|JPY|HTTP|API|RBF|English|«[^»]*»|\b[a-z]{2,4}_[0-9a-f]{6,}|\b[0-9a-f]{8,}…?"
    r"|tb1\w+|\b(?:alpha|beta|gamma|fake|shop|fay|default|trusted)\b"
)


def test_the_russian_desk_says_nothing_in_english(small_office):
    office = small_office
    invoice = office.late()
    callback = office.ring(invoice)
    pages = [f"/inbox/{callback}", *furnish(office, is_late=False)]
    pages += [
        f"/reviews/{each}" for each in set(re.findall(r"/admin/reviews/(rev_\w+)", office.see("vic", "/reviews")))
    ]
    pages.append(f"/invoices/{invoice['id']}")
    for who, paths in (("fay", pages), ("root", ["/people", "/people/vic", "/modes", "/health"])):
        for path in paths:
            page, text = Sentences(), office.client(who).get(f"/admin{path}{'&' if '?' in path else '?'}lang=ru").text
            page.feed(text)
            if path.startswith("/reviews/"):
                assert not re.search(
                    r">(?:(?:not )?(?:paid|started by this invoice)|open|False|True|expired|offer)<", text
                )
            english = [each for each in page.said if re.search(r"[A-Za-z]{2}", NAMES.sub("", each))]
            assert english == [], path


@pytest.mark.parametrize("code", ["en", "ru"])
def test_every_word_of_programs_has_words_here(code):
    catalogue = CATALOGUES[code]
    assert set(catalogue["alerts"]) == set(OWNERS)
    assert set(catalogue["owners"]) == {*OWNERS.values(), *REVIEW_OWNERS.values()}
    assert set(catalogue["accounts"]) == ACCOUNTS


def test_a_chosen_language_stays(small_office):
    client = small_office.client("vic")
    client.get("/admin/?lang=ru")
    assert '<html lang="ru">' in client.get("/admin/audit").text
    assert "14 марта 2026 г., UTC" in client.get("/admin/").text.replace("\xa0", " ")


def test_the_pages_of_the_admin_open_in_every_language_and_carry_nothing_hostile_or_inline(small_office):
    small_office.fill("root", "/people/vic", "/tokens", role="viewer", ends="2100-01-01", note=HOSTILE, reason=HOSTILE)
    for path in ("/people", "/people/vic", "/people/root"):
        for lang in ("en", "ru"):
            text = small_office.client("root").get(f"/admin{path}?lang={lang}").text
            assert f'<html lang="{lang}">' in text and "<script>alert" not in text
            assert not re.search(r"<[^>]+\s(style|on\w+)=", text), path


def test_the_journal_says_states_and_reasons_in_words(small_office):
    invoice = small_office.site.open("1")
    small_office.site.pay(invoice, invoice["remaining_sat"])
    text = small_office.see("vic", "/audit?lang=ru")
    assert "новый → в пути" in text and "Платёж замечен" in text
    assert not re.search(r">(seen|new|processing)<|new →", text)


def test_the_books_of_an_invoice_are_in_satoshi_and_in_money(small_office):
    invoice = small_office.settled("1001")
    text = small_office.see("vic", f"/invoices/{invoice['id']}").replace("\xa0", " ")
    assert f">{invoice['quote']['due_sat']:,} sat<" in text
    assert (
        f">{invoice['amount']} USD<" in text
        and f">−{invoice['amount']} USD<" in text
        and " BTC</span></td>" not in text
    )


def test_an_altered_audit_row_is_said_on_the_page(small_office):
    from sqlalchemy import text

    from bridge.books.keep_books import seal_audit

    small_office.settled()
    seal_audit(small_office.bridge, owner="w1", limit=100)
    assert "The chain is intact." in small_office.see("vic", "/audit?verify=1")
    with small_office.bridge.store.write() as tx:
        unguard(tx, "audit")
        tx.execute(text("UPDATE audit SET actor = 'nobody' WHERE id = 1"))
    assert "The chain is broken." in small_office.see("vic", "/audit?verify=1")


def test_bars_stand_on_an_axis_whose_values_are_round():
    chart = bars("settled", [("1", 0, "0"), ("2", 1, "1"), ("3", None, "–"), ("4", 750, "750"), ("5", -5, "-5")])
    assert [(tick.text, tick.y) for tick in chart.ticks] == [("0", FLOOR), ("400", FLOOR - ROOM // 2), ("800", TOP)]
    assert [bar.height for bar in chart.bars] == [0, 2, 0, 750 * ROOM // 800, 0]
    assert all(bar.x >= LEFT and bar.x + bar.width <= WIDTH and bar.y + bar.height == FLOOR for bar in chart.bars)
    assert [bar.shown for bar in chart.bars if bar.is_told] == ["750"] and chart.bars[-1].is_named
    assert bars("settled", []).is_empty


@pytest.mark.parametrize(
    ("highest", "per", "values"),
    [
        (1, 1, [0, 1, 2]),
        (9, 1, [0, 5, 10]),
        (2_397_686, 1, [0, 2_000_000, 4_000_000]),
        (59, 60, [0, 60, 120]),
        (1_000, 500, [0, 500, 1_000]),
        (0, 60, [0, 60, 120]),
    ],
)
def test_the_values_of_an_axis_reach_above_the_highest(highest: int, per: int, values: list[int]):
    assert [int(tick.text) for tick in bars("x", [("1", highest, "")], per=per).ticks] == values


def test_levels_stand_between_round_values():
    chart = levels("rate", [("1", 6_400, "64"), ("2", None, "–"), ("3", 6_650, "66"), ("4", 6_500, "65")], unit="USD")
    assert [tick.text for tick in chart.ticks] == ["6400", "6600", "6800"]
    middles = [FLOOR - bar.y - bar.height // 2 for bar in chart.bars if bar.height]
    assert middles == [0, 250 * ROOM // 400, 100 * ROOM // 400]
    assert levels("rate", [("1", None, "–")]).is_empty
    still = levels("rate", [("1", 520_000_000, "5 200 000")], tick=lambda value: f"{value // 100:,}")
    assert [tick.text for tick in still.ticks] == ["5,200,000", "5,210,000"]
    assert still.bars[0].x > still.left > LEFT  # so long a figure has its room
    (only,) = levels("rate", [("1", 6_500, "65")]).bars
    assert only.height == DASH


def test_the_price_and_how_far_its_sources_were_apart_are_drawn_with_their_numbers(small_office):
    small_office.site.open("1")
    small_office.world.clock.advance(86_400)
    small_office.world.rates.prices["USD"], small_office.world.rates.apart_bps = 6_600_000, 10
    small_office.site.open("2")
    *_, before, today = series(small_office.bridge)
    assert [(day.price_minor, day.spread_bps, day.currency) for day in (before, today)] == [
        (6_500_000, 0, "USD"),
        (6_606_600, 20, "USD"),
    ]
    page = small_office.see("vic", "/")
    assert "65,000.00" in page and "66,066.00" in page and "0.20" in page
    assert page.count("Price of a bitcoin at the last invoice of the day, USD") > 14
