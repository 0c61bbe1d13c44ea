"""Fewer bytes for each invoice: indexes that another one begins with are gone, those of the few are of the few alone.

What goes is no column and no table: a node of an earlier release asks the same and finds the same, by the other index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Each is the beginning of a unique one, or asked for by nobody since the ledger's sums are kept.
NEEDLESS = {
    "quotes": ("ix_quotes_invoice_id",),
    "payments": ("ix_payments_invoice_id",),
    "events": ("ix_events_invoice_id",),
    "deliveries": ("ix_deliveries_invoice_id",),
    "entries": ("ix_entries_account",),
    "journals": ("ix_journals_payout_id",),
    "invoices": ("ix_invoices_gap",),
    "inbox": ("ix_inbox_received_at",),
}
SOME = {
    "ix_journals_payout": ("journals", "payout_id", "payout_id IS NOT NULL"),
    "ix_invoices_gap": ("invoices", "gap_since", "gap_since IS NOT NULL"),
    "ix_invoices_contacts": ("invoices", "created_at", "customer_email <> '' OR return_url <> ''"),
    "ix_inbox_bodies": ("inbox", "received_at", "length(body) > 0"),
    "ix_inbox_sessions": ("inbox", "received_at", "headers <> '{}'"),
    "ix_idempotency_answers": ("idempotency", "created_at", "answer <> '' AND answer_status = 201"),
}


def upgrade() -> None:
    for table, names in NEEDLESS.items():
        for name in names:
            op.drop_index(name, table_name=table)
    for name, (table, column, condition) in SOME.items():
        where = sa.text(condition)
        op.create_index(name, table, [column], unique=False, sqlite_where=where, postgresql_where=where)
