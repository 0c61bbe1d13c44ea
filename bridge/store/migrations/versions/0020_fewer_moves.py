"""Fewer indexes move with an invoice: none holds until when it is watched, and only what is looked at no more waits to be packed.

What goes is no column and no table: a node of an earlier release asks the same and finds the same, by the other indexes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_invoices_watch", table_name="invoices")
    op.drop_index("ix_invoices_unpacked", table_name="invoices")
    old = sa.text("packed_at IS NULL AND look_class = 4")
    op.create_index("ix_invoices_unpacked", "invoices", ["created_at"], sqlite_where=old, postgresql_where=old)
