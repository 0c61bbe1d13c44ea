"""What support looks for and how finance sorts: the number of a payment, and indexes for the few among a million invoices."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# As of this migration; what the program says today is in tables.py.
_SOME = {
    "document": (("document",), "document <> ''"),
    "email": (("customer_email",), "customer_email <> ''"),
    "exception": (("exception", "created_at"), "exception <> 'none'"),
    "status": (("status", "created_at"), "status <> 'settled'"),
    "hold": (("hold", "created_at"), "hold IS NOT NULL"),
}


def upgrade() -> None:
    op.add_column("invoices", sa.Column("document", sa.Text(), server_default="", nullable=False))
    op.create_index("ix_invoices_trace", "invoices", ["trace_id"])
    op.create_index("ix_invoices_amount", "invoices", ["currency", "amount_minor", "created_at"])
    op.create_index("ix_invoices_currency", "invoices", ["currency", "created_at"])
    op.create_index("ix_invoices_merchant", "invoices", ["merchant", "created_at"])
    for name, (columns, condition) in _SOME.items():
        where = sa.text(condition)
        op.create_index(f"ix_invoices_{name}", "invoices", list(columns), sqlite_where=where, postgresql_where=where)
    op.create_index("ix_payments_amount", "payments", ["amount_sat"])
