"""The list of invoices and the files of finance, as a person in the office gets them."""

import csv
import html
import io
import json
import re
from datetime import timedelta

import pytest

from bridge.core.money import btc_text
from bridge.desk import find as listed
from bridge.desk.find import find
from bridge.store import invoices
from tests.admin.office import Office


def shown(text: str, invoice: dict) -> bool:
    return f'href="/admin/invoices/{invoice["id"]}"' in text


def rows_of(response, encoding: str = "utf-8-sig", delimiter: str = ",") -> list[dict[str, str]]:
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.data.decode(encoding), newline=""), delimiter=delimiter))


def test_a_list_is_narrowed_by_what_people_ask_for(office: Office):
    good = office.settled("1001", customer={"id": "42"})
    office.world.clock.advance(60)
    late = office.late()
    office.world.clock.advance(60)
    opened = office.site.open("3001", customer={"id": "43"}, currency="RUB", amount="912.50")
    day = office.bridge.calendar.day_of(office.bridge.clock()).isoformat()
    for asked, expected in {
        "": [good, late, opened],
        "?status=settled": [good],
        "?hold=review": [late],
        "?customer=42": [good],
        "?currency=RUB": [opened],
        "?status=new&currency=RUB": [opened],
        f"?from={day}": [opened],
        "?to=2020-01-01": [],
        "?exception=paid_late": [late],
    }.items():
        text = office.see("vic", f"/invoices{asked}")
        assert [shown(text, each) for each in (good, late, opened)] == [
            each in expected for each in (good, late, opened)
        ], asked
    for order, expected in (("newest", [opened, late, good]), ("oldest", [good, late, opened])):
        text = office.see("vic", f"/invoices?order={order}")
        assert sorted(expected, key=lambda each: text.index(f"/admin/invoices/{each['id']}")) == expected
    assert "912.50" in office.see("vic", "/invoices?currency=RUB").split("<tbody>")[1]
    assert office.client("vic").get("/admin/invoices?from=tomorrow").status_code == 422
    assert office.client("vic").get("/admin/invoices?from=2026-02-02&to=2026-02-01").status_code == 422


def test_the_next_page_keeps_the_filters_and_misses_nobody(office: Office, monkeypatch):
    monkeypatch.setattr(listed, "PAGE", 2)
    opened = [office.site.open(f"{number}", customer={"id": "7"}) for number in range(5)]
    office.site.open("other", customer={"id": "8"})
    for order in ("newest", "oldest"):
        path, seen = f"/invoices?customer=7&order={order}", []
        while path:
            text = office.see("vic", path)
            assert "5</span>" in text.split("<tbody>")[1], "the totals are of all pages"
            seen += [each["id"] for each in opened if shown(text, each)]
            _, _, rest = text.partition('rel="next" href="/admin')
            path = rest.partition('"')[0]
            assert not path or ("customer=7" in path and f"order={order}" in path)
        assert sorted(seen) == sorted(each["id"] for each in opened)


def test_a_list_is_sorted_by_sum_within_a_currency_page_by_page(office: Office, monkeypatch):
    monkeypatch.setattr(listed, "PAGE", 2)
    sums = [("RUB", "912.50"), ("RUB", "1500.00"), ("USD", "10.00"), ("USD", "10.00"), ("USD", "30.00")]
    opened = [
        office.site.open(f"{number}", currency=currency, amount=amount)["id"]
        for number, (currency, amount) in enumerate(sums)
    ]
    for order, expected in (("smallest", opened), ("largest", opened[::-1])):
        path, seen = f"/invoices?order={order}", list[str]()
        while path:
            text = office.see("vic", path)
            seen += re.findall(r'href="/admin/invoices/(inv_\w+)"', text)
            path = text.partition('rel="next" href="/admin')[2].partition('"')[0]
        # Two were opened at the same moment for the same sum: their ids decide.
        twins = sorted(expected[2:4] if order == "smallest" else expected[1:3], reverse=order == "largest")
        assert [each for each in seen if each not in twins] == [each for each in expected if each not in twins]
        assert sorted(seen) == sorted(opened) and [each for each in seen if each in twins] == twins
    for cursor in ("x", "USD.x.y", "..", "USD.1.", "U'D.1.eA=="):
        assert office.client("vic").get(f"/admin/invoices?order=largest&cursor={cursor}").status_code == 422


def test_the_search_finds_by_whatever_is_at_hand(office: Office):
    paid = office.settled("1001", customer={"id": "42", "email": "bob@example.com"}, description="VPS Москва (pay/7)")
    with office.bridge.store.read() as tx:
        (payment,) = invoices.payments_of(tx, paid["id"])
    other = office.site.open("2001", customer={"id": "43"}, currency="RUB", amount="912.50")
    second = office.site.open("2002", customer={"id": "43"}, currency="RUB", amount="950.00")
    for text, expected in {
        "bob@example.com": paid,
        "BOB@EXAMPLE.COM": paid,
        "42": paid,
        payment.key[:6]: paid,
        payment.key[:64].upper(): paid,
        "pay/7": paid,
        "vps москва": paid,
        f"{payment.amount_sat} sat": paid,
        btc_text(payment.amount_sat): paid,
        "10 $": paid,
        "912,50": other,
        "912.50 руб.": other,
    }.items():
        answer = office.client("vic").get("/admin/search", query_string={"q": text})
        assert answer.status_code == 303 and answer.location.endswith(expected["id"]), text
    text = office.see("vic", "/search?q=43")
    assert shown(text, other) and shown(text, second) and not shown(text, paid) and ">client<" in text
    assert "Nothing is known by this" in office.see("vic", "/search?q=44")


def test_a_search_says_what_it_left_out(office: Office, monkeypatch):
    monkeypatch.setattr("bridge.desk.find.MOST", 2)
    monkeypatch.setattr("bridge.desk.find.MOST_READ", 3)
    for number in range(4):
        office.site.open(f"{number}", customer={"id": "c"}, description="VPS Start" if number else "Domain")
        office.world.clock.advance(1)
    assert "there are more" in office.see("vic", "/search?q=c")
    text = office.see("vic", "/search?q=domain")
    assert "Nothing is known by this" in text and "Look further back" in text
    further = html.unescape(re.search(r'href="/admin(/search[^"]*cursor=[^"]*)"', text)[1])
    assert office.client("vic").get(f"/admin{further}").status_code == 303  # there it is alone
    text = office.see("vic", further.replace("=domain", "=vps"))
    assert "No description there" in text and "Look further back" not in text
    tomorrow = office.bridge.calendar.day_of(office.bridge.clock()) + timedelta(days=1)
    assert "Look further back" in office.see("vic", f"/search?q=domain&before={tomorrow}")
    assert "Look further back" not in office.see("vic", f"/search?q=domain&before={tomorrow - timedelta(days=1)}")
    assert office.client("vic").get("/admin/search?q=domain&cursor=x").status_code == 422
    assert "Look further back" not in office.see("vic", "/search?q=vps")


def test_a_search_meets_each_description_once_and_no_other(office: Office, monkeypatch):
    monkeypatch.setattr("bridge.store.search._PAGE", 2)
    wanted = []
    for number in range(12):
        wanted += [office.site.open(f"{number}", description=f"Домен {number % 3}")["id"]]
        office.world.clock.advance(number % 2)
    for step in range(1, 14):
        met, cursor = [], ""
        while True:
            found = find(office.bridge, "ДОМЕН 1", cursor=cursor, among=step)
            met += [each["id"] for each in found.invoices]
            cursor = found.next_cursor or ""
            if not cursor:
                break
        assert sorted(met) == sorted(wanted[1::3]), step


def test_totals_of_many_say_that_they_are_not_of_all(office: Office, monkeypatch):
    for number in range(3):
        office.site.open(f"{number}")
    assert "newest 2" not in office.see("vic", "/invoices")
    monkeypatch.setattr("bridge.desk.find.MOST_COUNTED", 2)
    monkeypatch.setattr("bridge.web.admin.pages.MOST_COUNTED", 2)
    assert "newest 2" in office.see("vic", "/invoices").replace("\xa0", " ")


def test_the_file_of_a_list_has_what_the_list_shows(office: Office):
    good = office.settled("1001", customer={"id": "42"})
    office.late()
    response = office.client("vic").get("/admin/invoices.csv?customer=42&file=spreadsheet")
    assert [row["invoice_id"] for row in rows_of(response)] == [good["id"]]
    assert response.headers["Content-Disposition"].endswith('.csv"')
    assert len(rows_of(office.client("vic").get("/admin/invoices.csv?file=spreadsheet"))) == 2
    told = office.client("vic").get("/admin/invoices.csv?customer=42&file=jsonl").text
    assert [json.loads(line)["invoice_id"] for line in told.splitlines()] == [good["id"]]


@pytest.mark.parametrize("kind", ["settlements", "payouts", "invoices", "treasury", "journal"])
def test_every_kind_of_book_is_a_download(office: Office, kind: str):
    office.settled("1001")
    today = office.bridge.calendar.day_of(office.bridge.clock())
    period = f"from={today - timedelta(days=1)}&to={today}"
    assert kind in office.see("vic", "/exports")
    for file, encoding, delimiter in (
        ("1c", "cp1251", ";"),
        ("spreadsheet-ru", "utf-8-sig", ";"),
        ("csv", "utf-8", ","),
    ):
        response = office.client("vic").get(f"/admin/exports/file?kind={kind}&file={file}&{period}")
        assert bool(rows_of(response, encoding, delimiter)) == (kind != "payouts")
        assert response.headers["Content-Disposition"].startswith(f'attachment; filename="{kind}-20')
    beans = office.client("vic").get(f"/admin/exports/file?kind=journal&file=beancount&{period}")
    assert f"{today} * " in beans.text


@pytest.mark.parametrize(
    "query",
    ["kind=nothing&from=2026-01-01&to=2026-01-02", "kind=journal&to=2026-01-02", "file=x&from=2026-01-01&to=2026-01-02",
     "from=2026-01-02&to=2026-01-01", "from=0000-01-01&to=2026-01-01"],
)  # fmt: skip
def test_what_cannot_be_downloaded_is_refused_in_words(office: Office, query: str):
    response = office.client("vic").get(f"/admin/exports/file?{query}")
    assert response.status_code == 422 and "text/html" in response.content_type


def test_nobody_downloads_without_logging_in(office: Office):
    for path in ("/admin/exports", "/admin/exports/file?kind=journal", "/admin/invoices.csv"):
        assert office.site.app.test_client().get(path).location.startswith("/admin/login")
