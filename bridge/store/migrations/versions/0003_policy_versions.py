"""Policy versions: what the settings file said about money, who proposed it, who approved."""

import sqlalchemy as sa
from alembic import op

from bridge.store.append_only import frozen_statements, statements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

APPEND_ONLY = ("policy_approvals",)
FROZEN = (
    "number",
    "sha256",
    "document",
    "base_number",
    "proposed_by",
    "proposed_at",
    "reason",
    "approvals_needed",
)
SOMEBODY_ELSE = "status <> 'active' OR approvals_needed = 0 OR decided_by <> proposed_by"


def upgrade() -> None:
    op.create_table(
        "policy_versions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("base_number", sa.Integer(), nullable=True),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approvals_needed", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decision_reason", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            "status IN ('proposed','active','rejected','superseded')", name=op.f("ck_policy_versions_status")
        ),
        sa.CheckConstraint(SOMEBODY_ELSE, name=op.f("ck_policy_versions_somebody_else")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_policy_versions")),
        sa.UniqueConstraint("number", "proposed_by", name=op.f("uq_policy_versions_number_proposed_by")),
    )
    for status, column in (("active", "status"), ("proposed", "sha256")):
        only = sa.text(f"status = '{status}'")
        name = f"uq_policy_versions_{status}"
        op.create_index(name, "policy_versions", [column], unique=True, sqlite_where=only, postgresql_where=only)
    op.create_table(
        "policy_approvals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("actor <> proposed_by", name=op.f("ck_policy_approvals_somebody_else")),
        sa.ForeignKeyConstraint(
            ["number", "proposed_by"],
            ["policy_versions.number", "policy_versions.proposed_by"],
            name="fk_policy_approvals_of",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_approvals")),
        sa.UniqueConstraint("number", "actor", name=op.f("uq_policy_approvals_number_actor")),
    )
    dialect = op.get_bind().dialect.name
    for statement in (
        *statements(dialect, APPEND_ONLY),
        *frozen_statements(dialect, "policy_versions", FROZEN),
    ):
        op.execute(statement)
