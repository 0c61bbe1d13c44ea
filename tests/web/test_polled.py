"""Pages that ask again: no question while nothing changed, and what changed is told."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from bridge.invoices import polled
from bridge.store.db import open_store
from bridge.store.tables import invoices
from tests.web.conftest import Site


@contextmanager
def asked(site: Site) -> Iterator[list[str]]:
    """What the database is asked of invoices."""
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "invoices" in statement:
            statements.append(statement)

    event.listen(site.bridge.store.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(site.bridge.store.engine, "before_cursor_execute", note)


@pytest.fixture
def pausing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No pause ends by itself."""
    monkeypatch.setattr(polled, "PAUSE_SECONDS", 3_600)
    yield monkeypatch


def status_of(site: Site, invoice: dict[str, Any], etag: str = "") -> Any:
    return site.page(invoice, "/status", headers={"If-None-Match": etag} if etag else {})


def test_while_nothing_changes_nobody_asks_the_database(site: Site, pausing: pytest.MonkeyPatch) -> None:
    pages = [site.open(str(number)) for number in (1, 2)]
    etags = [status_of(site, page).headers["ETag"] for page in pages]
    assert status_of(site, pages[0], etags[0]).status_code == 304
    with asked(site) as statements:
        answers = [status_of(site, page, etag) for page, etag in zip(pages, etags, strict=True) for _ in range(5)]
    assert ({each.status_code for each in answers}, statements) == ({304}, [])


def test_once_a_pause_one_question_is_asked_for_all_pages(site: Site, pausing: pytest.MonkeyPatch) -> None:
    pages = [site.open(str(number)) for number in range(5)]
    for page in pages:
        status_of(site, page)
    pausing.setattr(polled, "PAUSE_SECONDS", 0)
    with asked(site) as statements:
        status_of(site, pages[0])
        pausing.setattr(polled, "PAUSE_SECONDS", 3_600)
        for page in pages:
            status_of(site, page)
    assert len(statements) == 1


def test_what_this_process_writes_is_told_at_once(site: Site, pausing: pytest.MonkeyPatch) -> None:
    invoice = site.open()
    before = [status_of(site, invoice) for _ in range(2)][-1]
    site.pay(invoice, invoice["remaining_sat"] // 2)
    after = status_of(site, invoice, before.headers["ETag"])
    assert (after.status_code, after.json["reason"]) == (200, "partial")
    assert after.json["received_sat"] == invoice["remaining_sat"] // 2


def test_after_an_own_write_only_the_wanted_page_is_compared(site: Site, pausing: pytest.MonkeyPatch) -> None:
    pages = [site.open(str(number)) for number in range(3)]
    etags = [[status_of(site, page) for _ in range(2)][-1].headers["ETag"] for page in pages]
    site.open("another")
    with asked(site) as statements:
        answers = [status_of(site, *each) for each in zip(pages, etags, strict=True) for _ in range(2)]
    compared = [re.findall(r"public_id IN \((.*?)\)(?!s)", each) for each in statements]
    assert [each.status_code for each in answers] == [304] * 6
    assert [[len(ids.split(",")) for ids in each] for each in compared] == [[1]] * 3


def test_what_another_process_writes_is_told_after_a_pause(
    site: Site, database_url: str, pausing: pytest.MonkeyPatch
) -> None:
    invoice = site.open()
    etag = [status_of(site, invoice).headers["ETag"] for _ in range(2)][-1]
    with closing(open_store(database_url)) as other, other.write() as tx:
        tx.execute(update(invoices).values(hold="review", reason="large_amount", version=invoices.c.version + 1))
    assert status_of(site, invoice, etag).status_code == 304
    pausing.setattr(polled, "PAUSE_SECONDS", 0)
    after = status_of(site, invoice, etag)
    assert (after.status_code, after.json["hold"]) == (200, "review")


def test_what_time_changes_is_told_without_a_question(site: Site, pausing: pytest.MonkeyPatch) -> None:
    invoice = site.open()
    etag = [status_of(site, invoice).headers["ETag"] for _ in range(2)][-1]
    site.world.clock.now += timedelta(hours=1)
    with asked(site) as statements:
        after = status_of(site, invoice, etag)
    assert (after.status_code, after.json["reason"], after.json["shown_sat"]) == (200, "quote_lapsed", 0)
    assert statements == []


def test_only_so_many_pages_are_remembered(site: Site, pausing: pytest.MonkeyPatch) -> None:
    pausing.setattr(polled, "MOST_PAGES", 2)
    pages = [site.open(str(number)) for number in range(3)]
    for page in pages:
        status_of(site, page)
    with asked(site) as statements:
        assert status_of(site, pages[2]).status_code == 200
        known = len(statements)
        assert status_of(site, pages[0]).status_code == 200
    assert known <= 1 < len(statements)
