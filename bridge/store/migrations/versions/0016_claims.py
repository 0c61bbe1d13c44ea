"""What clients claim about invoices, with stages and deadlines."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "claims",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("txid", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("claimed_sat", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("stage_since", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("answer", sa.Text(), server_default="", nullable=False),
        sa.Column("closed_by", sa.Text(), server_default="", nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("stage IN ('inquiry','dispute','evidence','closed')", name=op.f("ck_claims_stage")),
        sa.CheckConstraint("(stage = 'closed') = (due_at IS NULL)", name=op.f("ck_claims_deadline")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_claims_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
    )
    op.create_index("ix_claims_invoice_id", "claims", ["invoice_id"])
    op.create_index("ix_claims_opened", "claims", ["opened_at"])
    op.create_index("ix_claims_due", "claims", ["due_at"])
    is_open = sa.text("stage <> 'closed'")
    op.create_index(
        "uq_claims_open", "claims", ["invoice_id"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
