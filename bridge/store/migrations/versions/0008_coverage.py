"""What readings of the chain cover: up to when an invoice's silence is a fact, where a payment stands, what it spends."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, kind in (
        ("covered_until", sa.BigInteger()),
        ("gap", sa.Text()),
        ("gap_source", sa.Text()),
        ("gap_since", sa.BigInteger()),
        ("gap_at", sa.BigInteger()),
    ):
        op.add_column("invoices", sa.Column(name, kind, nullable=True))
    op.create_index("ix_invoices_gap", "invoices", ["gap_since"], unique=False)
    op.create_index("ix_invoices_open", "invoices", ["status", "closed_at", "wallet_id"], unique=False)
    op.add_column("payouts", sa.Column("covered_until", sa.BigInteger(), nullable=True))
    op.add_column("payments", sa.Column("block_height", sa.Integer(), nullable=True))
    op.add_column("payments", sa.Column("block_hash", sa.Text(), nullable=True))
    op.add_column("payments", sa.Column("coinbase", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("payments", sa.Column("spends", sa.Text(), nullable=True))
    op.add_column("chain_tips", sa.Column("block_time", sa.BigInteger(), nullable=True))
    op.create_table(
        "clock_jumps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("noticed_at", sa.BigInteger(), nullable=False),
        sa.Column("noticed_by", sa.Text(), nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_jumps")),
    )
