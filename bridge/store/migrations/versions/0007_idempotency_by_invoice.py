"""Idempotency keys by the invoice that they led to: every new settlement status asks for them."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_idempotency_invoice_id"), "idempotency", ["invoice_id"], unique=False)
