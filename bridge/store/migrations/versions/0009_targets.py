"""Where an invoice is paid to, over which rail and in which asset: a table of its own beside the invoice's columns.

A node of an earlier release writes the columns alone; what it opens is read from there.
"""

import sqlalchemy as sa
from alembic import op

from bridge.store.append_only import statements

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# What the first two rails wrote: an address of the shop's own wallet is its own money, the gateway tells a sum of the others.
BEFORE = """
INSERT INTO targets (invoice_id, rail, asset, wallet_id, text, account, witness, due_units, created_at)
SELECT invoices.id,
    CASE WHEN invoices.wallet_id LIKE 'own!_%' ESCAPE '!' THEN 'own_wallet' ELSE 'subtc' END,
    'BTC', invoices.wallet_id, invoices.address,
    CASE WHEN invoices.wallet_id LIKE 'own!_%' ESCAPE '!' THEN 'wallet:cold' ELSE 'wallet:hot' END,
    CASE WHEN invoices.wallet_id LIKE 'own!_%' ESCAPE '!' THEN 'chain' ELSE 'total+chain' END,
    quotes.due_sat, invoices.created_at
FROM invoices JOIN quotes ON quotes.invoice_id = invoices.id AND quotes.version = 1
ORDER BY invoices.created_at, invoices.id
"""


def upgrade() -> None:
    op.create_table(
        "targets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("rail", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("wallet_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("due_units", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("due_units > 0", name=op.f("ck_targets_positive")),
        sa.CheckConstraint("witness IN ('chain','total+chain','rail')", name=op.f("ck_targets_witness")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_targets_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
        sa.UniqueConstraint("text", name=op.f("uq_targets_text")),
    )
    op.create_index(op.f("ix_targets_invoice_id"), "targets", ["invoice_id"], unique=False)
    op.execute(BEFORE)
    for statement in statements(op.get_bind().dialect.name, ("targets",)):
        op.execute(statement)
    op.add_column("payments", sa.Column("target_id", sa.BigInteger(), nullable=True))
    op.add_column("quotes", sa.Column("asset", sa.Text(), nullable=False, server_default="BTC"))
    op.add_column("events", sa.Column("asset", sa.Text(), nullable=False, server_default="BTC"))
