"""An invoice may have several ways to be paid: what a rail knows each by, and sums finer than a satoshi.

Both are NULL for what nodes of an earlier release write beside this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("targets", sa.Column("key", sa.Text(), nullable=True))
    op.create_index("ix_targets_key", "targets", ["key"], unique=True)
    op.create_index("ix_targets_waiting", "targets", ["wallet_id", "expires_at"], unique=False)
    op.add_column("payments", sa.Column("amount_msat", sa.BigInteger(), nullable=True))
