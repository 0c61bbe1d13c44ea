"""Up to where the audit's chain was walked, so that the alert rules need not walk all of it each time."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_checks",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("broken", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("kind IN ('full','recent')", name=op.f("ck_audit_checks_kind")),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_audit_checks")),
    )
