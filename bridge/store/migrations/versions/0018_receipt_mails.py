"""Receipts by mail, where the shop sets a mail server."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "receipt_mails",
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_try_at", sa.BigInteger(), nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("state IN ('waiting','sent','failed')", name=op.f("ck_receipt_mails_state")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_receipt_mails_invoice_id")),
        sa.PrimaryKeyConstraint("invoice_id", name=op.f("pk_receipt_mails")),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "ix_receipt_mails_waiting", "receipt_mails", ["next_try_at"], sqlite_where=waiting, postgresql_where=waiting
    )
