"""One read of everything about an invoice: how often its pages ask the database, and that what is reckoned from it is right."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, update

from bridge.core.money import BTC
from bridge.payouts.steps import refundable_in, refundable_of
from bridge.store import dossier, invoices, ledger
from bridge.store import payouts as payout_rows
from bridge.store.tables import payouts
from tests.admin.office import Office

# The whole of it: a question more than these is to be put into the dossier's, or to be argued for.
OF_AN_INVOICE = [
    "audit audit_chain",
    "events deliveries delivery_attempts",
    "inbox",
    "invoices grace_grants billing_statuses billing_refunds",
    "journals entries",
    "observations",
    "payments",
    "payouts payout_approvals",
    "policy_versions policy_approvals",
    "quotes",
    "reviews",
    "targets",
]
SESSION = "operator_sessions operators"


@contextmanager
def tables_asked(office: Office) -> Iterator[list[str]]:
    """The tables of every statement meanwhile."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(" ".join(re.findall(r"\b(?:FROM|JOIN|UPDATE|INTO) (\w+)", statement)))

    event.listen(office.bridge.store.engine, "before_cursor_execute", note)
    yield asked
    event.remove(office.bridge.store.engine, "before_cursor_execute", note)


def overpaid(office: Office) -> dict[str, str]:
    """An invoice that got too much, with a refund of the excess that somebody approved."""
    invoice = office.site.open("1002", customer={"id": "c1"})
    office.site.pay(invoice, invoice["remaining_sat"] + 160_000, confirmations=6)
    office.deliver()
    payout = office.propose(invoice, variant="excess_only")
    assert office.fill("ann", f"/payouts/{payout}", "/approve").status_code == 303
    return invoice


@pytest.mark.parametrize("made", [Office.settled, overpaid], ids=["settled", "refunded"])
def test_the_page_of_an_invoice_asks_each_table_once(office, made):
    invoice = made(office)
    office.see("fay", f"/invoices/{invoice['id']}")
    with tables_asked(office) as asked:
        office.see("fay", f"/invoices/{invoice['id']}")
    # Claims are the desk's alone: receipts and pay pages need not ask for them.
    assert sorted(asked) == sorted([SESSION, "claims", *OF_AN_INVOICE])


def test_the_receipt_asks_no_more_than_the_dossier(office):
    invoice = office.settled()
    with tables_asked(office) as asked:
        assert office.site.page(invoice, "/receipt.json").status_code == 200
    assert sorted(asked) == OF_AN_INVOICE


def test_what_the_dossier_reckons_is_what_the_books_say(office):
    invoice = overpaid(office)
    # Less arrived than was meant to, and the billing system gave some back as well.
    with office.bridge.store.write() as tx:
        shorter = update(payouts).where(payouts.c.state == "approved")
        tx.execute(shorter.values(state="sent", sent_sat=payouts.c.net_sat - 700))
        payout_rows.set_billing_refund(tx, invoice["id"], refunded_minor=300, now=office.bridge.clock())
    with office.bridge.store.read() as tx:
        found, row = dossier.find(tx, id=invoice["id"]), invoices.find(tx, id=invoice["id"])
        assert refundable_in(found) == refundable_of(tx, row)
        assert found.balances(BTC) == dict(sorted(ledger.owed(tx, invoice["id"]).items()))
    assert [each.round for each in found.payout_approvals[found.payouts[0].id]] == [1]


def test_a_childless_parent_and_one_with_many_children_are_each_read_once(office):
    invoice = office.site.open()
    office.ring(invoice)
    office.site.pay(invoice, invoice["remaining_sat"] // 2)
    office.site.pay(invoice, invoice["remaining_sat"], confirmations=6)
    office.deliver()
    office.deliver()
    with office.bridge.store.read() as tx:
        found = dossier.find(tx, id=invoice["id"])
        assert dossier.find(tx, id="inv_nothing") is None
    for rows in (found.events, found.deliveries, found.attempts, found.journals, found.audit, found.callbacks):
        ids = [row.id for row in rows]
        assert ids and len(ids) == len(set(ids))
    assert [row.sequence for row in found.events] == list(range(1, len(found.events) + 1))
    assert len(found.attempts) == len(found.deliveries) > 1
    assert [d.sequence for d in found.deliveries] == sorted((d.sequence for d in found.deliveries), reverse=True)
    assert all(sum(leg.units for leg in found.legs[row.id]) == 0 for row in found.journals)
