"""Every table of the bridge, as SQLAlchemy Core describes it.

Owns names, types and constraints; must not hold a query. Money is BIGINT, times are BIGINT microseconds since 1970 in UTC.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time as whole microseconds: exact, sortable and the same on both engines."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=int(value))


class FeeBps(TypeDecorator[int]):
    """A gateway's fee, None while nobody names it. The first schema made the columns NOT NULL: unknown is kept as -1."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int:
        return -1 if value is None else value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:
        return None if value is None or value < 0 else int(value)


class Json(TypeDecorator[Any]):
    """A value as JSON text, its keys in order. What the first release left empty is an empty object.

    Not for what is signed, hashed or shown as it was written: such a column is Text, and keeps every byte.
    """

    impl = Text
    cache_ok = True

    def __init__(self, *, ensure_ascii: bool = True):
        super().__init__()
        self.ensure_ascii = ensure_ascii

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=self.ensure_ascii)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Any | None:
        return None if value is None else json.loads(value or "{}")


Serial = BigInteger().with_variant(Integer, "sqlite")
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _invoice_id(*, unique: bool = False, nullable: bool = False) -> Column[Any]:
    return Column("invoice_id", Text, ForeignKey("invoices.id"), nullable=nullable, unique=unique, index=not unique)


invoices = Table(
    "invoices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("public_id", Text, nullable=False, unique=True),
    Column("merchant", Text, nullable=False),
    Column("billing_payment_id", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("customer_id", Text, nullable=False, server_default=""),
    Column("customer_email", Text, nullable=False, server_default=""),
    Column("customer_country", Text, nullable=False, server_default=""),
    Column("tier", Text, nullable=False, server_default=""),
    Column("service_ref", Text, nullable=False, server_default=""),
    Column("return_url", Text, nullable=False, server_default=""),
    Column("locale", Text, nullable=False, server_default=""),
    Column("trace_id", Text, nullable=False),
    Column("network", Text, nullable=False),
    Column("wallet_id", Text, nullable=False),
    Column("address", Text, nullable=False, unique=True),
    Column("callback_token_sha256", Text, nullable=False, unique=True),
    Column("rule", Text, nullable=False),
    Column("rule_terms", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("exception", Text, nullable=False),
    Column("hold", Text),
    Column("reason", Text, nullable=False),
    Column("received_sat", BigInteger, nullable=False, server_default="0"),
    Column("confirmed_sat", BigInteger, nullable=False, server_default="0"),
    Column("remaining_sat", BigInteger, nullable=False),
    Column("excess_sat", BigInteger, nullable=False, server_default="0"),
    Column("confirmations_seen", Integer, nullable=False, server_default="0"),
    Column("confirmations_needed", Integer, nullable=False, server_default="1"),
    Column("verdict", Text),
    Column("billing_change", Text),
    Column("provider_sat", BigInteger),
    Column("provider_asked_at", UtcTime),
    Column("chain_asked_at", UtcTime),
    Column("disagrees_since", UtcTime),
    Column("covered_until", UtcTime),
    Column("gap", Text),
    Column("gap_source", Text),
    Column("gap_since", UtcTime),
    Column("gap_at", UtcTime),
    Column("screening", Text, nullable=False, server_default="none"),
    Column("screened_sha256", Text, nullable=False, server_default=""),
    Column("sequence", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("monitor_until", UtcTime, nullable=False),
    Column("grace_until", UtcTime),
    Column("settled_at", UtcTime),
    Column("closed_at", UtcTime),
    Column("watched_until", UtcTime),
    Column("look_class", Integer, nullable=False, server_default="1"),
    Column("next_look_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime),
    Column("lease_owner", Text),
    UniqueConstraint("merchant", "billing_payment_id"),
    CheckConstraint("amount_minor > 0", name="amount"),
    CheckConstraint("status IN ('new','processing','settled','expired','invalid')", name="status"),
    Index("ix_invoices_due", "look_class", "next_look_at"),
    Index("ix_invoices_remaining", "remaining_sat", "status"),
    Index("ix_invoices_listing", "merchant", "status", "created_at"),
    Index("ix_invoices_customer", "merchant", "customer_id", "status", "created_at"),
    Index("ix_invoices_watch", "status", "watched_until"),
    Index("ix_invoices_confirming", "status", "confirmations_seen"),
    Index("ix_invoices_created", "created_at"),
    Index("ix_invoices_gap", "gap_since"),
    Index("ix_invoices_open", "status", "closed_at", "wallet_id"),
    CheckConstraint("screening IN ('none','clear','hit','pending','unanswered')", name="screening"),
)

# Where an invoice is paid to, over which rail. An invoice's own address and wallet_id are those of its first one.
targets = Table(
    "targets",
    metadata,
    Column("id", Serial, primary_key=True),
    _invoice_id(),
    Column("rail", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("wallet_id", Text, nullable=False),
    Column("text", Text, nullable=False, unique=True),
    Column("account", Text, nullable=False),
    Column("witness", Text, nullable=False),
    Column("due_units", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("key", Text),
    Index("ix_targets_key", "key", unique=True),
    Index("ix_targets_waiting", "wallet_id", "expires_at"),
    CheckConstraint("due_units > 0", name="positive"),
    CheckConstraint("witness IN ('chain','total+chain','rail')", name="witness"),
)

quotes = Table(
    "quotes",
    metadata,
    Column("id", Serial, primary_key=True),
    _invoice_id(),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("base_minor", BigInteger, nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("risk_bps", Integer, nullable=False),
    Column("fee_buffer_minor", BigInteger, nullable=False),
    Column("due_sat", BigInteger, nullable=False),
    Column("effective_from", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("samples", Text, nullable=False),
    Column("asset", Text, nullable=False, server_default="BTC"),
    UniqueConstraint("invoice_id", "version"),
    CheckConstraint("due_sat > 0 AND base_minor > 0 AND price_minor > 0", name="positive"),
)

payments = Table(
    "payments",
    metadata,
    Column("id", Serial, primary_key=True),
    _invoice_id(),
    Column("key", Text, nullable=False),
    Column("amount_sat", BigInteger, nullable=False),
    Column("confirmations", Integer),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("replaceable", Boolean, nullable=False),
    Column("replaced", Boolean, nullable=False),
    Column("block_height", Integer),
    Column("block_hash", Text),
    Column("coinbase", Boolean, nullable=False, server_default=false()),
    Column("spends", Text),
    Column("source", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("target_id", BigInteger),
    Column("amount_msat", BigInteger),
    UniqueConstraint("invoice_id", "key"),
    Index("ix_payments_key", "key"),
)

observations = Table(
    "observations",
    metadata,
    Column("id", Serial, primary_key=True),
    _invoice_id(),
    Column("source", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
)

journals = Table(
    "journals",
    metadata,
    Column("id", Serial, primary_key=True),
    _invoice_id(nullable=True),
    Column("payout_id", Text, ForeignKey("payouts.id"), index=True),
    Column("merchant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("memo", Json, nullable=False, server_default=""),
    Column("reverses_id", BigInteger),
)

entries = Table(
    "entries",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("journal_id", BigInteger, ForeignKey("journals.id"), nullable=False, index=True),
    Column("account", Text, nullable=False, index=True),
    Column("asset", Text, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("service_ref", Text, nullable=False, server_default=""),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True),
    _invoice_id(nullable=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("from_status", Text, nullable=False, server_default=""),
    Column("to_status", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("rule", Text, nullable=False, server_default=""),
    Column("policy_version", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default="{}"),
)

# The hash chain is laid over committed audit rows by one leased job: chaining inside the writers' transactions would queue them all.
audit_chain = Table(
    "audit_chain",
    metadata,
    Column("position", Serial, primary_key=True),
    Column("audit_id", BigInteger, ForeignKey("audit.id"), nullable=False, unique=True),
    Column("sha256", Text, nullable=False),
)

# Up to where the chain was last walked: "full" from the beginning, "recent" from where the walk before it had ended. A walk
# from the beginning believes neither, so that a forged row here hides nothing from it.
audit_checks = Table(
    "audit_checks",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("broken", Text, nullable=False, server_default=""),
    CheckConstraint("kind IN ('full','recent')", name="kind"),
)

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    _invoice_id(nullable=True),
    Column("merchant", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("asset", Text, nullable=False, server_default="BTC"),
    UniqueConstraint("invoice_id", "sequence"),
)

event_positions = Table(
    "event_positions",
    metadata,
    Column("position", Serial, primary_key=True),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False, unique=True),
    Column("merchant", Text, nullable=False),
    Index("ix_event_positions_feed", "merchant", "position"),
)

# Events that have no position yet: a small queue, so that numbering never searches the whole history.
unnumbered_events = Table(
    "unnumbered_events",
    metadata,
    Column("event_id", Text, ForeignKey("events.id"), primary_key=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False, index=True),
    _invoice_id(nullable=True),
    Column("merchant", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcTime, nullable=False),
    Column("next_try_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime),
    Column("lease_owner", Text),
    Column("finished_at", UtcTime),
    Index("ix_deliveries_due", "state", "next_try_at"),
    Index("ix_deliveries_order", "invoice_id", "sequence"),
    CheckConstraint("state IN ('pending','delivered','parked')", name="state"),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("delivery_id", Text, ForeignKey("deliveries.id"), nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("latency_ms", Integer, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("answer_excerpt", Text, nullable=False),
    Column("error", Text, nullable=False, server_default=""),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("source", Text, nullable=False),
    Column("event_key", Text, nullable=False),
    _invoice_id(nullable=True),
    Column("received_at", UtcTime, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("copies", Integer, nullable=False, server_default="0"),
    UniqueConstraint("source", "event_key"),
    Index("ix_inbox_waiting", "state", "id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_sha256", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
    Column("invoice_id", Text, index=True),
    Column("quote_version", Integer),
    Column("address", Text),
    Column("settlement_status", Text),
    Column("answer_status", Integer),
    Column("answer", Text),
)

openings = Table(
    "openings",
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("billing_payment_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
)

spare_addresses = Table(
    "spare_addresses",
    metadata,
    Column("address", Text, primary_key=True),
    Column("wallet_id", Text, nullable=False),
    Column("network", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("invoice_id", Text, unique=True),
    Index("ix_spare_addresses_free", "wallet_id", "invoice_id"),
)

# Addresses of the shop's own wallets, by their place in the descriptor: given out once, for one thing, for ever.
derived_addresses = Table(
    "derived_addresses",
    metadata,
    Column("address", Text, primary_key=True),
    Column("wallet_id", Text, nullable=False),
    Column("network", Text, nullable=False),
    Column("address_index", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("used_by", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("wallet_id", "address_index"),
    CheckConstraint("purpose IN ('invoice','sweep')", name="purpose"),
)

address_counters = Table(
    "address_counters",
    metadata,
    Column("wallet_id", Text, primary_key=True),
    Column("next_index", BigInteger, nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", Text, primary_key=True),
    _invoice_id(nullable=True),
    Column("merchant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Column("times_seen", Integer, nullable=False, server_default="1"),
    Column("due_at", UtcTime, nullable=False),
    Column("blocks", Json(ensure_ascii=False), nullable=False, server_default="{}"),
    Column("decision", Text),
    Column("actor", Text),
    Column("note", Text),
    Column("resolved_at", UtcTime),
    Index("ix_reviews_open", "state", "due_at"),
    CheckConstraint("state IN ('open','resolved')", name="state"),
)

modes = Table(
    "modes",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
)

# The highest block that any source has shown, and when one last did.
chain_tips = Table(
    "chain_tips",
    metadata,
    Column("network", Text, primary_key=True),
    Column("height", Integer, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("block_time", UtcTime),
)

# Each time that the clock of a node was found to have been wrong; `seconds` is by how much it is set back.
clock_jumps = Table(
    "clock_jumps",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("noticed_at", UtcTime, nullable=False),
    Column("noticed_by", Text, nullable=False),
    Column("seconds", BigInteger, nullable=False),
)

# When calls were granted: a budget counts those of the last minute, whichever minute that is.
budget_calls = Table(
    "budget_calls",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("spent", Integer, nullable=False),
)

# What the gateway said the whole wallet holds, and since when that has been so: a hint which addresses can wait.
balance_marks = Table(
    "balance_marks",
    metadata,
    Column("wallet_id", Text, primary_key=True),
    Column("balance_sat", BigInteger, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("window_start", UtcTime, nullable=False),
    Column("spent", Integer, nullable=False),
)

screenings = Table(
    "screenings",
    metadata,
    Column("id", Serial, primary_key=True),
    _invoice_id(),
    Column("at", UtcTime, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("subject_sha256", Text, nullable=False),
    Column("matched", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
)

# What the billing system says of its own payments, newest report wins; a finished report says that nothing was left out.
billing_reports = Table(
    "billing_reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant", Text, nullable=False),
    Column("covers_from", UtcTime, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("source", Text, nullable=False),
    Index("ix_billing_reports_newest", "merchant", "finished_at"),
)

billing_statuses = Table(
    "billing_statuses",
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("billing_payment_id", Text, primary_key=True),
    Column("status", Integer, nullable=False),
    Column("amount_text", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("external_id", Text, nullable=False, server_default=""),
    Column("first_reported_at", UtcTime, nullable=False),
    Column("reported_at", UtcTime, nullable=False, index=True),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("is_scheduled", Boolean, nullable=False),
    Column("from_at", UtcTime, nullable=False),
    Column("to_at", UtcTime, nullable=False),
    Column("started_at", UtcTime, nullable=False, index=True),
    Column("stepped_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("phase", Text, nullable=False),
    Column("cursor", Text, nullable=False, server_default=""),
    Column("counts", Json, nullable=False, server_default="{}"),
)

reconciliation_findings = Table(
    "reconciliation_findings",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("reconciliation_id", Text, ForeignKey("reconciliations.id"), nullable=False, index=True),
    _invoice_id(nullable=True),
    Column("merchant", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("ours", Text, nullable=False),
    Column("theirs", Text, nullable=False),
    Column("variance_sat", BigInteger, nullable=False),
    Column("detail", Json, nullable=False, server_default="{}"),
    CheckConstraint("kind IN ('missing','extra','different')", name="kind"),
)

# Money in the gateway's wallet that is not the bridge's: said by a person, the newest row counts.
wallet_baselines = Table(
    "wallet_baselines",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("wallet_id", Text, nullable=False, index=True),
    Column("baseline_sat", BigInteger, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

payouts = Table(
    "payouts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    _invoice_id(nullable=True),
    Column("merchant", Text, nullable=False),
    Column("billing_payment_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("service_ref", Text, nullable=False),
    Column("request_key", Text, nullable=False),
    Column("request_sha256", Text, nullable=False),
    Column("variant", Text, nullable=False, server_default=""),
    Column("fiat_minor", BigInteger),
    Column("currency", Text, nullable=False, server_default=""),
    Column("price_minor", BigInteger),
    Column("role", Text, nullable=False),
    Column("wallet_id", Text, nullable=False),
    Column("network", Text, nullable=False),
    Column("destination", Text),
    Column("destination_set_at", UtcTime),
    Column("destination_set_by", Text, nullable=False, server_default=""),
    Column("fee_bps", FeeBps, nullable=False),
    Column("gross_sat", BigInteger, nullable=False),
    Column("fee_sat", BigInteger, nullable=False),
    Column("net_sat", BigInteger, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approvals_needed", Integer, nullable=False),
    Column("round", Integer, nullable=False, server_default="1"),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("maybe_sent", Boolean, nullable=False),
    Column("waiting", Text, nullable=False, server_default=""),
    Column("balance_before_sat", BigInteger),
    Column("balance_after_sat", BigInteger),
    Column("txid", Text),
    Column("sent_sat", BigInteger),
    Column("paid_fee_sat", BigInteger),
    Column("review_id", Text),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("requested_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("approved_at", UtcTime),
    Column("next_try_at", UtcTime, nullable=False),
    Column("sent_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("covered_until", UtcTime),
    Column("lease_until", UtcTime),
    Column("lease_owner", Text),
    UniqueConstraint("merchant", "request_key"),
    CheckConstraint("gross_sat > 0 AND net_sat > 0 AND fee_sat >= 0 AND gross_sat = net_sat + fee_sat", name="sums"),
    CheckConstraint(
        "state IN ('requested','approved','submitting','sent','confirmed','rejected','unknown','failed')", name="state"
    ),
    CheckConstraint("kind <> 'refund' OR invoice_id IS NOT NULL", name="refund_of"),
    Index("ix_payouts_due", "state", "next_try_at"),
    # The database itself refuses a second send while one is under way or uncertain.
    Index(
        "uq_payouts_in_flight",
        "wallet_id",
        unique=True,
        sqlite_where=text("state IN ('submitting','unknown')"),
        postgresql_where=text("state IN ('submitting','unknown')"),
    ),
)

payout_approvals = Table(
    "payout_approvals",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("payout_id", Text, ForeignKey("payouts.id"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    UniqueConstraint("payout_id", "round", "actor"),
)

# A person's word that an invoice counts as paid, and who else must say so before it does. One waits per review item.
marks = Table(
    "marks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("review_id", Text, ForeignKey("reviews.id"), nullable=False),
    _invoice_id(),
    Column("merchant", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("worth_sat", BigInteger, nullable=False),
    Column("received_sat", BigInteger, nullable=False),
    Column("remaining_sat", BigInteger, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approvals_needed", Integer, nullable=False),
    Column("proposed_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    UniqueConstraint("id", "proposed_by"),
    CheckConstraint("state IN ('proposed','approved','rejected','lapsed')", name="state"),
    Index(
        "uq_marks_waiting",
        "review_id",
        unique=True,
        sqlite_where=text("state = 'proposed'"),
        postgresql_where=text("state = 'proposed'"),
    ),
)

# Time to pay that a person gave, once per billing payment; it ends settled or lapsed, and forgives nothing.
grace_grants = Table(
    "grace_grants",
    metadata,
    Column("invoice_id", Text, ForeignKey("invoices.id"), primary_key=True),
    Column("merchant", Text, nullable=False),
    Column("billing_payment_id", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("approver", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("granted_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    UniqueConstraint("merchant", "billing_payment_id"),
    CheckConstraint("state IN ('open','settled','lapsed')", name="state"),
    Index("ix_grace_grants_granted", "granted_at"),
)

# The proposer stands in the row, so that the database itself refuses their own approval.
mark_approvals = Table(
    "mark_approvals",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("mark_id", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    ForeignKeyConstraint(["mark_id", "proposed_by"], ["marks.id", "marks.proposed_by"], name="fk_mark_approvals_of"),
    UniqueConstraint("mark_id", "actor"),
    CheckConstraint("actor <> proposed_by", name="somebody_else"),
)

# What the billing system says it has paid back by itself: absolute, so that hearing it twice changes nothing.
billing_refunds = Table(
    "billing_refunds",
    metadata,
    Column("invoice_id", Text, ForeignKey("invoices.id"), primary_key=True),
    Column("refunded_minor", BigInteger, nullable=False),
    Column("at", UtcTime, nullable=False),
)

wallet_balances = Table(
    "wallet_balances",
    metadata,
    Column("role", Text, primary_key=True),
    Column("wallet_id", Text, nullable=False),
    Column("confirmed_sat", BigInteger, nullable=False),
    Column("unconfirmed_sat", BigInteger, nullable=False),
    Column("fee_bps", FeeBps, nullable=False),
    Column("min_send_sat", BigInteger, nullable=False),
    Column("read_at", UtcTime, nullable=False),
)

operators = Table(
    "operators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("totp_nonce", Text, nullable=False),
    Column("last_totp_step", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("locked_until", UtcTime),
    Column("expires_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),
)

operator_sessions = Table(
    "operator_sessions",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("operator", Text, ForeignKey("operators.name"), nullable=False, index=True),
    Column("csrf_token", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)

operator_tokens = Table(
    "operator_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("operator", Text, ForeignKey("operators.name"), nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("token_sha256", Text, nullable=False, unique=True),
    Column("note", Text, nullable=False, server_default=""),
    Column("starts_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),
)

# What the settings file says about money, version by version. At most one is active, and none proposed twice at a time.
policy_versions = Table(
    "policy_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sha256", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("base_number", Integer),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approvals_needed", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("decided_by", Text, nullable=False, server_default=""),
    Column("decided_at", UtcTime),
    Column("decision_reason", Text, nullable=False, server_default=""),
    UniqueConstraint("number", "proposed_by"),
    CheckConstraint("status IN ('proposed','active','rejected','superseded')", name="status"),
    CheckConstraint("status <> 'active' OR approvals_needed = 0 OR decided_by <> proposed_by", name="somebody_else"),
    Index(
        "uq_policy_versions_active",
        "status",
        unique=True,
        sqlite_where=text("status = 'active'"),
        postgresql_where=text("status = 'active'"),
    ),
    Index(
        "uq_policy_versions_proposed",
        "sha256",
        unique=True,
        sqlite_where=text("status = 'proposed'"),
        postgresql_where=text("status = 'proposed'"),
    ),
)

# The proposer stands in the row, so that the database itself refuses their own approval.
policy_approvals = Table(
    "policy_approvals",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    ForeignKeyConstraint(
        ["number", "proposed_by"],
        ["policy_versions.number", "policy_versions.proposed_by"],
        name="fk_policy_approvals_of",
    ),
    UniqueConstraint("number", "actor"),
    CheckConstraint("actor <> proposed_by", name="somebody_else"),
)

APPEND_ONLY = (
    "journals",
    "entries",
    "audit",
    "audit_chain",
    "quotes",
    "targets",
    "events",
    "event_positions",
    "delivery_attempts",
    "screenings",
    "wallet_baselines",
    "reconciliation_findings",
    "payout_approvals",
    "mark_approvals",
    "derived_addresses",
    "policy_approvals",
)
# Rows that stay for ever, with the columns that never change; the others say what became of them.
FROZEN = {
    "policy_versions": (
        "number",
        "sha256",
        "document",
        "base_number",
        "proposed_by",
        "proposed_at",
        "reason",
        "approvals_needed",
    ),
}
