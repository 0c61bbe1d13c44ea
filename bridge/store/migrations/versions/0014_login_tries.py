"""Wrong log-ins are counted by what was typed as the name, so that a name that nobody has is answered as one that somebody has."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "login_tries",
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name_key", name=op.f("pk_login_tries")),
    )
    op.create_index(op.f("ix_login_tries_failed_at"), "login_tries", ["failed_at"])
