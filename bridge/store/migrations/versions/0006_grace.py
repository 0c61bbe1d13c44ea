"""Grace: time to pay that a person gave, as an entry of its own and as an end on the invoice."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invoices", sa.Column("grace_until", sa.BigInteger(), nullable=True))
    op.create_table(
        "grace_grants",
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("billing_payment_id", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('open','settled','lapsed')", name=op.f("ck_grace_grants_state")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_grace_grants_invoice_id")),
        sa.PrimaryKeyConstraint("invoice_id", name=op.f("pk_grace_grants")),
        sa.UniqueConstraint("merchant", "billing_payment_id", name=op.f("uq_grace_grants_merchant_billing_payment_id")),
    )
    op.create_index("ix_grace_grants_granted", "grace_grants", ["granted_at"], unique=False)
