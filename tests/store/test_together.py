"""Statements sent at once: what they answer, and that one of them failing undoes them all."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import event, insert, select

from bridge.core.ledger import Entry, Journal
from bridge.store import audit, idempotency, ledger
from bridge.store.db import Duplicate, Store
from bridge.store.idempotency import Scope
from bridge.store.tables import journals, operators
from bridge.store.together import Together, ask

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SCOPE = Scope(merchant="shop", operation="open_invoice", key="k-1")
CLAIM = {"now": NOW, "lease_seconds": 30}
WHOSE = {"merchant": "shop", "billing_payment_id": "7"}


def test_each_statement_answers_for_itself(store: Store) -> None:
    together = Together()
    key = idempotency.begin(together, SCOPE, body_sha256="x", **CLAIM)
    opening = idempotency.take_opening(together, owner="own_1", **WHOSE, **CLAIM)
    noted = together.execute(audit._WRITE, {"at": NOW, "actor": 'somebody\'s 100% "name"', "action": "test"})
    with store.write() as tx:
        together.run(tx)
    assert (key.value, opening.value, noted.value) == ("k-1", "own_1", None)

    again = Together()
    same_key = idempotency.begin(again, SCOPE, body_sha256="x", **CLAIM)
    taken = idempotency.take_opening(again, owner="own_2", **WHOSE, **CLAIM)
    with store.write() as tx:
        again.run(tx)
    assert (same_key.value, taken.value) == (None, None)
    with store.read() as tx:
        (row,) = tx.exec_driver_sql("SELECT actor, at FROM audit").all()
    assert row == ('somebody\'s 100% "name"', round(NOW.timestamp() * 1_000_000))


def test_what_is_asked_past_sqlalchemy_reads_as_what_it_answers(store: Store) -> None:
    told = {"role": "approver", "is_active": True, "password_hash": "x", "totp_nonce": "", "created_by": "anna"}
    with store.write() as tx:
        tx.execute(insert(operators).values(name="boris", **told, created_at=NOW, locked_until=None))
        tx.execute(insert(journals).values(merchant="shop", kind="k", family="f", at=NOW, memo={"currency": "USD"}))
    for table in (operators, journals):
        with store.read() as tx:
            asked, answered = ask(tx, select(table)).one(), tx.execute(select(table)).one()
        assert (asked, asked._mapping) == (answered, dict(answered._mapping))
        assert list(map(type, asked)) == list(map(type, answered))


def test_who_listens_to_statements_hears_of_what_is_asked_past_sqlalchemy(store: Store) -> None:
    heard: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *told: heard.append(told[2]))
    with store.read() as tx:
        assert ask(tx, select(operators.c.name)).all() == []
    assert [statement.split()[0] for statement in heard] == ["SELECT"]


def test_a_statement_that_fails_takes_the_others_with_it(store: Store) -> None:
    first, second = Together(), Together()
    for together in (first, second):
        audit.write(together, at=NOW, actor="somebody", action="test")
        together.execute(idempotency._begin, {"merchant": "shop", "operation": "o", "key": "k", "body_sha256": "x"})
    with pytest.raises(Duplicate), store.write() as tx:
        first.run(tx)  # the key's row lacks what must not be null
    with store.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM audit").scalar_one() == 0


def test_journals_of_one_run_keep_their_order(store: Store) -> None:
    kinds = [f"kind_{number}" for number in range(6)]
    legs = (Entry(account="wallet:hot", units=1, asset="BTC"), Entry(account="tolerance", units=-1, asset="BTC"))
    with store.write() as tx:
        posted = [Journal(kind=kind, entries=legs) for kind in kinds]
        ledger.post(tx, posted, invoice_id=None, merchant="shop", service_ref="", at=NOW, memo="")
    with store.read() as tx:
        found = tx.exec_driver_sql(
            "SELECT journals.kind, entries.units FROM journals JOIN entries ON entries.journal_id = journals.id ORDER BY entries.id"
        ).all()
    assert found == [(kind, units) for kind in kinds for units in (1, -1)]


def test_what_need_not_be_durable_is_seen_by_the_next_transaction(store: Store) -> None:
    """And the same connection is durable again for the next writer, whatever it did before."""
    if store.is_postgresql:
        with store.write() as tx:
            tx.exec_driver_sql("SET synchronous_commit TO on")  # which the server of the tests is not, to be fast
    for durable in (False, True, False, True):
        with store.write(durable=durable) as tx:
            audit.write(tx, at=NOW, actor="somebody", action="test")
            is_on = "SHOW synchronous_commit" if store.is_postgresql else "PRAGMA synchronous"
            assert tx.exec_driver_sql(is_on).scalar_one() in (("on", 2) if durable else ("off", 1))
    with store.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM audit").scalar_one() == 4
