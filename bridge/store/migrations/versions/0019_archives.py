"""What old invoices' rows say goes into one compressed row for each: the table, and the guards that let it through. An index that
nobody asks is gone.
"""

import sqlalchemy as sa
from alembic import op

from bridge.store.append_only import archive_statements, packable_statements

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# What may leave each table, and what never changes in it; without either whole rows may leave.
PACKABLE = {
    "events": (("body",), ("id", "invoice_id", "merchant", "type", "sequence", "created_at", "asset")),
    "audit": (
        ("detail", "from_status", "to_status", "reason", "rule", "policy_version"),
        ("id", "invoice_id", "at", "actor", "action"),
    ),
    "quotes": (
        ("samples",),
        (
            *("id", "invoice_id", "version", "kind", "currency", "base_minor", "price_minor", "risk_bps"),
            *("fee_buffer_minor", "due_sat", "effective_from", "expires_at", "created_at", "policy_version", "asset"),
        ),
    ),
    "journals": (("memo",), ("id", "invoice_id", "payout_id", "merchant", "kind", "family", "at", "reverses_id")),
    "delivery_attempts": ((), ()),
}


def upgrade() -> None:
    op.create_table(
        "archives",
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("form", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("is_open", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_archives_invoice_id")),
        sa.PrimaryKeyConstraint("invoice_id", name=op.f("pk_archives")),
    )
    op.add_column("invoices", sa.Column("packed_at", sa.BigInteger(), nullable=True))
    unpacked = sa.text("packed_at IS NULL")
    op.create_index(
        "ix_invoices_unpacked",
        "invoices",
        ["look_class", "created_at"],
        sqlite_where=unpacked,
        postgresql_where=unpacked,
    )
    # Nobody asks what it alone has: other indexes begin with the status too.
    op.drop_index("ix_invoices_confirming", table_name="invoices")
    dialect = op.get_bind().dialect.name
    for table, (emptied, others) in PACKABLE.items():
        for statement in packable_statements(dialect, table, emptied=emptied, others=others):
            op.execute(statement)
    for statement in archive_statements(dialect, "archives", ("invoice_id", "form", "sha256", "body")):
        op.execute(statement)
