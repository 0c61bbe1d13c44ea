"""Sums of the ledger that are kept, so that none is taken over all of history, and indexes where a time is asked for.

A trigger notes each journal that is posted from here on, by a node of an earlier release too; what was posted before is summed here.
"""

import sqlalchemy as sa
from alembic import op

from bridge.store.append_only import queueing_statements

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TURNOVERS = """
INSERT INTO turnovers (hour_at, merchant, kind, account, asset, debit, credit)
SELECT j.at - j.at % 3600000000, j.merchant, j.kind, e.account, e.asset,
    SUM(CASE WHEN e.units > 0 THEN e.units ELSE 0 END), SUM(CASE WHEN e.units < 0 THEN -e.units ELSE 0 END)
FROM journals j JOIN entries e ON e.journal_id = j.id
GROUP BY 1, 2, 3, 4, 5
"""
BALANCES = """
INSERT INTO account_balances (merchant, account, asset, units)
SELECT merchant, account, asset, SUM(debit - credit) FROM turnovers GROUP BY 1, 2, 3
"""


def upgrade() -> None:
    op.create_table(
        "account_balances",
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merchant", "account", "asset", name=op.f("pk_account_balances")),
    )
    op.create_table(
        "turnovers",
        sa.Column("hour_at", sa.BigInteger(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("debit", sa.BigInteger(), nullable=False),
        sa.Column("credit", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour_at", "merchant", "kind", "account", "asset", name=op.f("pk_turnovers")),
    )
    op.create_table(
        "unsummed_journals",
        sa.Column("journal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("journal_id", name=op.f("pk_unsummed_journals")),
    )
    # The trigger comes first: on PostgreSQL it keeps every other writer of journals waiting until what there is has been summed.
    for statement in queueing_statements(op.get_bind().dialect.name):
        op.execute(statement)
    op.execute(TURNOVERS)
    op.execute(BALANCES)
    op.create_index("ix_journals_at", "journals", ["at"], unique=False)
    op.create_index("ix_observations_asked_at", "observations", ["asked_at"], unique=False)
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], unique=False)
