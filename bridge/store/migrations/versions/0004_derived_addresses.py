"""Addresses derived from the shop's own descriptors: which index was given to what, and which comes next."""

import sqlalchemy as sa
from alembic import op

from bridge.store.append_only import statements

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = ("derived_addresses",)


def upgrade() -> None:
    op.create_table(
        "derived_addresses",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("wallet_id", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("address_index", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("used_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("purpose IN ('invoice','sweep')", name=op.f("ck_derived_addresses_purpose")),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_derived_addresses")),
        sa.UniqueConstraint("wallet_id", "address_index", name=op.f("uq_derived_addresses_wallet_id_address_index")),
    )
    op.create_table(
        "address_counters",
        sa.Column("wallet_id", sa.Text(), nullable=False),
        sa.Column("next_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("wallet_id", name=op.f("pk_address_counters")),
    )
    for statement in statements(op.get_bind().dialect.name, APPEND_ONLY):
        op.execute(statement)
