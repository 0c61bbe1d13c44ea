"""Rows by the page, and the guard of a change: nothing is skipped or told twice, nobody overwrites another."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from bridge.store.db import Store
from bridge.store.rows import Rows, page
from bridge.store.tables import grace_grants, operators

AT = datetime(2026, 7, 1, tzinfo=UTC)
BY_FAILURES = (operators.c.failures.desc(), operators.c.name)
_PEOPLE = Rows(table=operators, order=BY_FAILURES)


def person(name: str, *, failures: int = 0) -> dict[str, object]:
    secret = {"password_hash": "x", "totp_nonce": "x"}
    return secret | {
        "name": name,
        "role": "viewer",
        "is_active": True,
        "failures": failures,
        "created_at": AT,
        "created_by": "o",
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_show_every_row_once_and_in_order_whatever_directions_are_mixed(store: Store, limit: int) -> None:
    with store.write() as tx:
        for number in range(7):
            _PEOPLE.add(tx, person(f"p{number}", failures=number // 3))
        whole = [row.name for row in _PEOPLE.listing(tx)]
        seen: list[str] = []
        cursor = None
        while rows := page(tx, select(operators), order=BY_FAILURES, cursor=cursor, limit=limit):
            seen += [row.name for row in rows]
            cursor = (rows[-1].failures, rows[-1].name)
    assert whole == ["p6", "p3", "p4", "p5", "p0", "p1", "p2"]
    assert seen == whole


def test_a_change_gives_the_row_as_it_is_then_and_nothing_to_who_came_too_late(store: Store) -> None:
    until = AT + timedelta(minutes=5)
    with store.write() as tx:
        added = _PEOPLE.add(tx, person("anna"))
        changed = _PEOPLE.change(tx, {"failures": 3, "locked_until": until}, name="anna", failures=0)
        late = _PEOPLE.change(tx, {"failures": 9}, name="anna", failures=0)
        found = _PEOPLE.find(tx, "anna", lock=True)
    assert (added.failures, added.locked_until) == (0, None)
    assert changed is not None
    assert (changed.failures, changed.locked_until) == (3, until)
    assert late is None
    assert found == changed


def test_rows_are_counted_summed_asked_for_and_removed_by_the_same_words(store: Store) -> None:
    has_failed = operators.c.failures > 0
    with store.write() as tx:
        nobody = (_PEOPLE.count(tx), _PEOPLE.sum(tx, operators.c.failures), _PEOPLE.any(tx))
        for name, failures in (("anna", 0), ("boris", 2), ("clara", 3)):
            _PEOPLE.add(tx, person(name, failures=failures))
        found = (_PEOPLE.count(tx, has_failed), _PEOPLE.sum(tx, operators.c.failures), _PEOPLE.any(tx, name="boris"))
        _PEOPLE.remove(tx, has_failed, name="boris")
        left = (_PEOPLE.count(tx, role="viewer"), _PEOPLE.sum(tx, operators.c.failures), _PEOPLE.any(tx, name="boris"))
        nothing_locked = _PEOPLE.count(tx, locked_until=None)
    assert nobody == (0, 0, False)
    assert found == (2, 5, True)
    assert left == (2, 3, False)
    assert nothing_locked == 2


def test_a_key_that_is_nothing_finds_nothing(store: Store) -> None:
    with store.write() as tx:
        _PEOPLE.add(tx, person("anna"))
        assert _PEOPLE.find(tx, None) is None
        assert Rows(table=grace_grants).find(tx, "inv_1") is None
