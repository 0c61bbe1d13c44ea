"""A generation of the database, so that a former primary, an older copy or another database is told apart from it.

The first worker writes the row: a database that is being filled from another one gets that one's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "generation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("timeline", sa.BigInteger(), nullable=True),
        sa.Column("system_id", sa.Text(), server_default="", nullable=False),
        sa.Column("recheck", sa.Text(), server_default="", nullable=False),
        sa.Column("is_synchronous", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_generation_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation")),
    )
