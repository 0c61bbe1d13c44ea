"""Manual marks by two people: who proposed that an invoice counts as paid, and who approved."""

import sqlalchemy as sa
from alembic import op

from bridge.store.append_only import statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("mark_approvals",)
WAITING = sa.text("state = 'proposed'")


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("review_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("worth_sat", sa.BigInteger(), nullable=False),
        sa.Column("received_sat", sa.BigInteger(), nullable=False),
        sa.Column("remaining_sat", sa.BigInteger(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approvals_needed", sa.Integer(), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('proposed','approved','rejected','lapsed')", name=op.f("ck_marks_state")),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_marks_review_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_marks_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_marks")),
        sa.UniqueConstraint("id", "proposed_by", name=op.f("uq_marks_id_proposed_by")),
    )
    op.create_index(op.f("ix_marks_invoice_id"), "marks", ["invoice_id"], unique=False)
    op.create_index(
        "uq_marks_waiting", "marks", ["review_id"], unique=True, sqlite_where=WAITING, postgresql_where=WAITING
    )
    op.create_table(
        "mark_approvals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mark_id", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("actor <> proposed_by", name=op.f("ck_mark_approvals_somebody_else")),
        sa.ForeignKeyConstraint(
            ["mark_id", "proposed_by"], ["marks.id", "marks.proposed_by"], name="fk_mark_approvals_of"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mark_approvals")),
        sa.UniqueConstraint("mark_id", "actor", name=op.f("uq_mark_approvals_mark_id_actor")),
    )
    for statement in statements(op.get_bind().dialect.name, APPEND_ONLY):
        op.execute(statement)
