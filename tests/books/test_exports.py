"""The books of a period as files: they add up, they name everything, and no cell becomes a formula."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.books.export import FIELDS, KINDS, account_name, beancount, export
from bridge.config import ConfigError, load_column_map
from bridge.core.books import Calendar
from bridge.core.columns import Column, ColumnMap, safe_text
from bridge.core.errors import Refused
from bridge.core.ledger import ACCOUNTS, ASSETS, LIABILITIES
from bridge.desk.day_report import period_report, report
from bridge.desk.desk import series
from bridge.desk.resolve_review import list_reviews, resolve
from tests.books.runs import HOUR, change, lines, paid, report_of, told

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])
EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def rows(world, kind, *, from_at=EARLY, to_at=LATE, columns=None):
    text = "".join(export(world.bridge, kind=kind, format="csv", from_at=from_at, to_at=to_at, columns=columns))
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=columns.delimiter if columns else ","))


def lines_of(chunks):
    return "".join(chunks).splitlines()


def midnight(world):
    return world.bridge.clock().replace(hour=0, minute=0, second=0, microsecond=0)


def total(found, field):
    return sum(int(row[field]) for row in found)


def a_busy_shop(world):
    """Settled, overpaid, partly paid, waiting for a person, and a reservation that lapses."""
    paid(world, "1", customer_id="c1", service_ref="vps-1", description="VPS")
    over = world.open("2", customer_id="c2")
    world.pay(over, over["remaining_sat"] + 30_000)
    world.mine(6)
    world.look(over)
    partial = world.open("3", currency="RUB", amount_text="900.00")
    world.pay(partial, 4_000)
    world.mine()
    world.look(partial)
    waiting = world.open("4", currency="JPY", amount_text="2000")
    world.pay(waiting)
    world.look(waiting)
    world.open("5")
    world.advance(25 * HOUR)
    world.poll()
    late = world.open("6")
    world.advance(30 * HOUR)
    world.pay(late)
    world.mine()
    world.look(late)
    world.advance(2 * HOUR)
    world.poll()


def test_who_counts_columns_finds_each_where_it_was():
    places = {
        kind: FIELDS[kind].index(last) for kind, last in (("invoices", "keys"), ("settlements", "billing_status_at"))
    }
    assert places == {"invoices": 29, "settlements": 28}


def test_totals_of_the_settlements_are_the_balances_of_the_ledger(world):
    a_busy_shop(world)
    found = rows(world, "settlements")
    assert total(found, "settled_sat") == -world.balance("customer:prepayment") > 0
    assert total(found, "buffer_sat") == -world.balance("quote_buffer") > 0
    assert total(found, "excess_sat") == -world.balance("customer:overpayment") == 30_000
    assert total(found, "absorbed_sat") == world.balance("tolerance")


def test_the_journal_sums_to_the_balances_and_to_zero(world):
    a_busy_shop(world)
    found = rows(world, "journal")
    assert {row["account"] for row in found} <= ACCOUNTS
    for account in ("wallet:hot", "customer:unallocated", "inflight:unconfirmed"):
        mine = [row for row in found if row["account"] == account and row["asset"] == "BTC"]
        assert total(mine, "units") == world.balance(account)
        assert total(mine, "debit") - total(mine, "credit") == world.balance(account)
    assert total([row for row in found if row["asset"] == "BTC"], "units") == 0


def test_a_billing_status_says_as_of_when_it_was_read_and_is_none_from_before_the_agreement(world):
    invoice = world.open("7")
    report_of(world, [told(invoice, status=2)], report_id="before")
    world.advance(60)
    world.pay(invoice)
    world.mine(6)
    world.look(invoice)
    (before,) = [row for row in rows(world, "settlements") if row["kind"] == "settle"]
    assert before["billing_agreed_at"] == "" and before["billing_status"] == "2" and before["billing_status_at"] != ""
    world.advance(60)
    world.deliver()
    (agreed,) = [row for row in rows(world, "settlements") if row["kind"] == "settle"]
    assert (agreed["billing_status"], agreed["billing_status_at"]) == ("4", agreed["billing_agreed_at"])
    world.advance(60)
    report_of(world, [told(invoice, status=9)], report_id="after")
    (after,) = [row for row in rows(world, "settlements") if row["kind"] == "settle"]
    assert after["billing_status"] == "9" and after["billing_status_at"] > after["billing_agreed_at"]


@pytest.mark.parametrize("kind", ["invoices", "settlements", "payouts", "journal"])
def test_adjoining_periods_add_up_to_the_whole(world, kind):
    start = world.bridge.clock()
    a_busy_shop(world)
    end = world.bridge.clock() + timedelta(seconds=1)
    cuts = [start, start + timedelta(minutes=1), start + timedelta(hours=26), end]
    parts = [row for a, b in pairwise(cuts) for row in rows(world, kind, from_at=a, to_at=b)]
    whole = rows(world, kind, from_at=start, to_at=end)
    key = "invoice_id" if kind == "invoices" else next(f for f in ("entry_id", "journal_id") if f in FIELDS[kind])
    assert sorted(parts, key=lambda r: r[key]) == sorted(whole, key=lambda r: r[key])


@ONE_ENGINE
def test_adjoining_treasury_snapshots_hand_over_their_balances(world):
    start = world.bridge.clock()
    a_busy_shop(world)
    end, middle = world.bridge.clock() + timedelta(seconds=1), start + timedelta(hours=26)
    first, second, whole = (
        {row["role"]: row for row in rows(world, "treasury", from_at=a, to_at=b)}
        for a, b in ((start, middle), (middle, end), (start, end))
    )
    for role in ("hot", "billing", "cold"):
        assert first[role]["closing_sat"] == second[role]["opening_sat"]
        for figure in ("in_sat", "out_sat", "fees_sat"):
            assert int(first[role][figure]) + int(second[role][figure]) == int(whole[role][figure])
        parts = {name: int(whole[role][name]) for name in ("opening_sat", "in_sat", "out_sat", "fees_sat")}
        came, went = parts["opening_sat"] + parts["in_sat"], parts["out_sat"] + parts["fees_sat"]
        assert came - went == int(whole[role]["closing_sat"])
    assert int(whole["hot"]["closing_sat"]) == world.wallet.balance().confirmed_sat


@ONE_ENGINE
def test_a_settled_row_names_quote_source_transaction_time_and_the_billing_systems_word(world):
    invoice = paid(world, customer_id="c1", service_ref="vps-1")
    world.deliver()
    settled = [row for row in rows(world, "settlements") if row["kind"] == "settle"]
    [row] = settled
    assert row["txids"] and len(row["txids"]) == 64
    for field in ("quote_version", "price_sources", "rate", "fiat_at_receipt", "settled_at", "billing_agreed_at"):
        assert row[field], field
    assert (row["invoice_id"], row["service_ref"], row["customer_id"]) == (invoice["id"], "vps-1", "c1")
    assert (row["expected"], row["currency"]) == ("10.00", "USD")


@ONE_ENGINE
def test_without_a_chain_reader_the_row_says_that_no_transaction_is_known(worlds):
    world = worlds(chain={"esplora": []}, policy={"default": {"provider_only_max_sat": 10**9}})
    invoice = world.open()
    world.pay(invoice)
    world.look(invoice)
    assert [row["txids"] for row in rows(world, "settlements")] == ["txid unknown (provider)"]


@ONE_ENGINE
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", " =", "＝"])
def test_a_strangers_text_is_never_a_formula(world, start):
    world.open(description=f"{start}HYPERLINK(1)")
    [row] = rows(world, "invoices")
    assert row["description"] == f"'{start}HYPERLINK(1)"


def test_numbers_below_zero_stay_numbers():
    columns = ColumnMap.plain(["units", "fiat", "text"])
    assert columns.lines([{"units": -5, "fiat": Decimal("-1.50"), "text": "-5"}]) == [["-5", "-1.50", "'-5"]]
    assert safe_text("a=b") == "a=b"


@ONE_ENGINE
def test_json_lines_have_satoshi_as_numbers_and_money_as_text(world):
    paid(world)
    found = [
        json.loads(line)
        for line in lines(export(world.bridge, kind="settlements", format="jsonl", from_at=EARLY, to_at=LATE))
    ]
    assert isinstance(found[0]["settled_sat"], int)
    assert found[0]["expected"] == "10.00"
    assert found[0]["at"].endswith("Z")


@ONE_ENGINE
def test_late_in_the_evening_money_belongs_to_the_next_day_in_moscow(world, tmp_path):
    """A shop there that settles at 22:31 UTC has it in the books of the next day, in every kind of book."""
    world.advance((timedelta(hours=22, minutes=31) - (world.bridge.clock() - midnight(world))).total_seconds() % 86_400)
    utc_day = world.bridge.clock().date()
    invoice = world.open("7")
    world.pay(invoice)
    world.mine(6)
    assert world.seen(invoice)[0] == "settled"
    next_day = utc_day + timedelta(days=1)
    for zone, day in (("UTC", utc_day), ("Europe/Moscow", next_day)):
        shop = replace(world.bridge, calendar=Calendar(time_zone=zone))
        other = utc_day if day == next_day else next_day
        assert (report(shop, day)["counts"]["settled"], report(shop, other)["counts"]["settled"]) == (1, 0)
        assert {each.day: each.settled for each in series(shop, days=3) if each.settled} == (
            {day: 1} if day <= shop.calendar.day_of(world.bridge.clock()) else {}
        )
        from_at, to_at = (shop.calendar.begin_of(each) for each in (day, day + timedelta(days=1)))
        period = {"from_at": from_at, "to_at": to_at}
        settled = list(csv.DictReader(io.StringIO("".join(export(shop, kind="settlements", format="csv", **period)))))
        assert [row["at"][:16] for row in settled] == [f"{day}T{'22' if zone == 'UTC' else '01'}:31"]
        assert settled[0]["at"][19:] == ("Z" if zone == "UTC" else "+03:00")
        told = [json.loads(line) for line in lines_of(export(shop, kind="settlements", format="jsonl", **period))]
        assert [row["at"][:16] for row in told] == [f"{utc_day}T22:31"], "programs go on reading UTC"
        dates = {line[:10] for line in lines_of(beancount(shop, **period)) if " * " in line}
        assert dates == {day.isoformat()}


@pytest.mark.parametrize(
    ("zone", "at", "day", "hours"),
    [
        ("Europe/Moscow", "2026-03-31T22:31:00", "2026-04-01", 24),
        ("Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00", "2026-10-25", 25),
        ("Asia/Kathmandu", "2026-01-01T18:14:59", "2026-01-01", 24),
        ("Asia/Kathmandu", "2026-01-01T18:15:00", "2026-01-02", 24),
    ],
)
def test_days_of_a_zone_begin_when_they_begin_there(zone, at, day, hours):
    calendar, day = Calendar(time_zone=zone), date.fromisoformat(day)
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    begins, ends = calendar.begin_of(day), calendar.begin_of(day + timedelta(days=1))
    assert calendar.day_of(moment) == day and begins <= moment < ends
    assert ends - begins == timedelta(hours=hours)
    with pytest.raises(Refused, match="calendar ends"):
        Calendar(time_zone="Asia/Tokyo").begin_of(date.min)


@ONE_ENGINE
@pytest.mark.parametrize(
    ("profile", "encoding", "delimiter", "number", "time_format"),
    [
        ("spreadsheet", "utf-8-sig", ",", "10.10", "%Y-%m-%dT%H:%M:%SZ"),
        ("spreadsheet-ru", "utf-8-sig", ";", "10,10", "%d.%m.%Y %H:%M:%S"),
        ("1c", "cp1251", ";", "10,10", "%d.%m.%Y %H:%M:%S"),
    ],
)
def test_a_profile_writes_what_its_program_reads(world, profile, encoding, delimiter, number, time_format):
    paid(world, description="Аренда ₽ VPS")
    chosen = ColumnMap.plain(FIELDS["settlements"], profile=profile)
    text = export(world.bridge, kind="settlements", format="csv", from_at=EARLY, to_at=LATE, columns=chosen)
    written = b"".join(chosen.bytes_of(text))
    assert written.startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
    assert written.count(b"\xef\xbb\xbf") <= 1
    [row] = csv.DictReader(io.StringIO(written.decode(encoding), newline=""), delimiter=delimiter)
    assert row["fiat_at_receipt"] == number
    assert row["description"] == ("Аренда \\u20bd VPS" if encoding == "cp1251" else "Аренда ₽ VPS")
    assert datetime.strptime(row["at"], time_format).year >= 2020


@ONE_ENGINE
def test_the_map_for_1c_writes_what_it_always_wrote(world):
    paid(world, customer_id="1001", service_ref="vps-1", description="=cmd")
    change(world, "UPDATE payments SET key = 'ab:0'")
    columns = load_column_map(ROOT / "deploy/accounting/1c-settlements.yaml")
    text = "".join(export(world.bridge, kind="settlements", format="csv", from_at=EARLY, to_at=LATE, columns=columns))
    golden = Path(__file__).with_name("1c-settlements.golden.csv").read_text(encoding="utf-8").splitlines()
    header, line = text.splitlines()
    assert header == golden[0]
    cells = dict(zip(header.split(";"), line.split(";"), strict=True))
    moment = datetime.strptime(cells["Дата"], "%d.%m.%Y %H:%M:%S")
    assert moment.year >= 2020
    assert line.replace(cells["Дата"], "ДАТА").replace(f";{cells['Номер']};", ";НОМЕР;", 1) == golden[1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("columns: []", "columns"),
        ("colums: []", "colums"),
        ("columns: [{name: A, feild: at}]", "feild"),
        ("columns: [{name: A}]\ndelimiter: ab", "delimiter"),
        ("[", r"not YAML: a \[ or { is opened"),
        ("columns: [{name: \udcff}]", "not text in UTF-8"),
    ],
)
def test_a_faulty_map_names_its_fault(tmp_path, text, complaint):
    (tmp_path / "map.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError, match=complaint):
        load_column_map(tmp_path / "map.yaml")


@ONE_ENGINE
def test_what_cannot_be_exported_is_refused_before_the_first_line(world):
    good = {"kind": "invoices", "format": "csv", "from_at": EARLY, "to_at": LATE}
    unknown = ColumnMap(columns=(Column(name="A", field="nope"),))
    for wrong in ({"kind": "x"}, {"format": "x"}, {"to_at": EARLY}, {"columns": unknown}):
        with pytest.raises(Refused):
            export(world.bridge, **good | wrong)
    with pytest.raises(Refused):
        beancount(world.bridge, from_at=LATE, to_at=EARLY)


@ONE_ENGINE
def test_every_kind_has_its_header_even_when_nothing_happened(world):
    for kind in KINDS:
        text = "".join(export(world.bridge, kind=kind, format="csv", from_at=EARLY, to_at=LATE))
        assert text.splitlines()[0] == ",".join(FIELDS[kind])


def test_bean_check_accepts_the_journal(world, tmp_path):
    a_busy_shop(world)
    whole = tmp_path / "books.beancount"
    whole.write_text("".join(beancount(world.bridge, from_at=EARLY, to_at=LATE)))
    checker = [sys.executable, "-W", "ignore", "-m", "beancount.scripts.check", str(whole)]
    checked = subprocess.run(checker, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@ONE_ENGINE
def test_beancount_says_the_same_as_the_ledger_and_adjoining_files_add_up(world, tmp_path):
    start = world.bridge.clock()
    a_busy_shop(world)
    middle = start + timedelta(hours=26)
    (tmp_path / "a.beancount").write_text("".join(beancount(world.bridge, from_at=EARLY, to_at=middle)))
    bare = "".join(beancount(world.bridge, from_at=middle, to_at=LATE, is_bare=True))
    (tmp_path / "b.beancount").write_text(bare)
    (tmp_path / "all.beancount").write_text('include "a.beancount"\ninclude "b.beancount"\n')
    program = (
        "import sys; from beancount import loader; from collections import Counter\n"
        "entries, errors, _ = loader.load_file(sys.argv[1]); sums = Counter()\n"
        "for e in entries:\n"
        "  for p in getattr(e, 'postings', []): sums[p.account, p.units.currency] += p.units.number\n"
        "print([str(e) for e in errors], {f'{a} {c}': str(n) for (a, c), n in sums.items()})"
    )
    checker = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "all.beancount")]
    said = subprocess.run(checker, capture_output=True, text=True, timeout=60).stdout
    assert said.startswith("[] ")
    for account in ("wallet:hot", "customer:prepayment", "customer:unallocated", "quote_buffer"):
        assert f"'{account_name(account)} SAT': '{world.balance(account)}'" in said


def test_prepayments_are_liabilities_and_nothing_is_revenue():
    assert {account_name(a).split(":")[0] for a in LIABILITIES} == {"Liabilities"}
    assert {account_name(a).split(":")[0] for a in ASSETS} == {"Assets"}
    assert len({account_name(account) for account in ACCOUNTS}) == len(ACCOUNTS)
    assert account_name("customer:prepayment") == "Liabilities:Customer:Prepayment"
    assert not [account for account in ACCOUNTS if "revenue" in account]
    assert not [field for fields in FIELDS.values() for field in fields if "revenue" in field]


def test_the_report_of_a_day_adds_up(world):
    start = world.bridge.clock()
    a_busy_shop(world)
    days = [report(world.bridge, (start + timedelta(days=n)).date()) for n in range(5)]
    for day in days:
        assert all(each["ok"] for each in day["sums"]), day
    whole = period_report(world.bridge, from_at=EARLY, to_at=LATE)
    assert all(each["ok"] for each in whole["sums"])
    for figure in ("received", "confirmed", "settled", "excess", "refunded"):
        assert sum(day["sat"][figure] for day in days) == whole["sat"][figure], figure
    assert whole["sat"]["settled"] == -world.balance("customer:prepayment") - world.balance("quote_buffer")
    assert whole["sat"]["under_review"] > 0
    assert whole["counts"]["opened"] == 6
    assert whole["counts"]["settled"] >= 2
    assert whole["expected"]["USD"]["asked"] == "40.00"
    for figures in whole["expected"].values():
        opened, ended = Decimal(figures["opening"]) + Decimal(figures["asked"]), Decimal(figures["ended"])
        assert opened - ended == Decimal(figures["closing"])


@ONE_ENGINE
def test_an_old_day_says_the_same_for_ever(world):
    start = world.bridge.clock()
    a_busy_shop(world)
    world.advance(10 * 24 * HOUR)
    middle = world.bridge.clock()
    before = period_report(world.bridge, from_at=start, to_at=middle)
    held = [item for item in list_reviews(world.bridge, match={"state": "open"}, limit=10) if item["kind"] == "late"]
    resolve(world.bridge, held[0]["id"], decision="refund", actor="anna", reason="too late")
    assert period_report(world.bridge, from_at=start, to_at=middle) == before
    after = period_report(world.bridge, from_at=middle, to_at=LATE)
    assert after["sat"]["refund_due"] > 0
    assert all(each["ok"] for each in after["sums"])


@ONE_ENGINE
def test_the_report_of_one_merchant_leaves_the_others_out(world):
    paid(world)
    other = period_report(world.bridge, from_at=EARLY, to_at=LATE, merchant="other")
    assert (other["counts"]["opened"], other["sat"]["received"]) == (0, 0)
