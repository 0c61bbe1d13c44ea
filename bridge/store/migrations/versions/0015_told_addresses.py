"""The address that the billing system was given for a payment: whose money it is that lies on one which was forgotten here."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("billing_statuses", sa.Column("address", sa.Text(), server_default="", nullable=False))
