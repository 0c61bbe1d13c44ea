"""Every table of the bridge, as SQLAlchemy Core describes it.

Owns names, types and constraints; must not hold a query. Money is BIGINT, times are BIGINT microseconds since 1970 in UTC.
"""

import json
from collections.abc import Callable
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
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from bridge.core.schedule import DONE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Since the epoch, as times are stored."""
    return (at - _EPOCH) // _MICROSECOND


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time as whole microseconds: exact, sortable and the same on both engines."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return _stored(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return _read(value)

    # The same without the way through the class: a row has a dozen times, and no driver makes anything of a whole number.
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return _stored

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return _read


def _stored(at: datetime | None) -> int | None:
    return None if at is None else microseconds(at)


def _read(stored: Any | None) -> datetime | None:
    return None if stored is None else _EPOCH + timedelta(0, 0, stored)


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


def _invoice_id(*, nullable: bool = False, index: bool = True) -> Column[Any]:
    """Without an index of its own where another one begins with it."""
    return Column("invoice_id", Text, ForeignKey("invoices.id"), nullable=nullable, index=index)


def _columns(kind: Any, *names: str, nullable: bool = False, **options: Any) -> list[Column[Any]]:
    """Columns of one kind that follow each other."""
    return [Column(name, kind, nullable=nullable, **options) for name in names]


def _where(name: str, *columns: str, condition: str, unique: bool = False) -> Index:
    """An index of the rows that are as the condition says: a question that says the same finds the few among the many.

    Only migrations make indexes. Said to SQLAlchemy as a condition, it would have each program load both engines' dialects.
    """
    return Index(name, *columns, unique=unique, info={"where": condition})


def _one_where(name: str, column: str, condition: str) -> Index:
    """At most one row with the same value in `column` may be as the condition says."""
    return _where(name, column, condition=condition, unique=True)


def _table(name: str, *parts: Any) -> Table:
    return Table(name, metadata, *parts)


def _approvals(name: str, key: Column[Any], *, of: str) -> Table:
    """What persons approved. The proposer stands in the row, so that the database itself refuses their own approval."""
    proposed = [of, f"{of.partition('.')[0]}.proposed_by"]
    return _table(
        name,
        Column("id", Serial, primary_key=True),
        key,
        *_columns(Text, "proposed_by", "actor", "reason"),
        Column("at", UtcTime, nullable=False),
        ForeignKeyConstraint([key.name, "proposed_by"], proposed, name=f"fk_{name}_of"),
        UniqueConstraint(key.name, "actor"),
        CheckConstraint("actor <> proposed_by", name="somebody_else"),
    )


# The conditions of partial indexes: a statement that means to use one says the same words.
UNUSUAL, UNSETTLED = "exception <> 'none'", "status <> 'settled'"
NUMBERED, REACHABLE = "document <> ''", "customer_email <> ''"
# What a purge has not been to yet.
BODIES, SESSIONS = "length(body) > 0", "headers <> '{}'"
# Only what opened an invoice can be told again by its event: the others would be looked at again by each purge.
ANSWERS = "answer <> '' AND answer_status = 201"
CONTACTS = "customer_email <> '' OR return_url <> ''"
UNPACKED = f"packed_at IS NULL AND look_class = {DONE}"

invoices = _table(
    "invoices",
    Column("id", Text, primary_key=True),
    Column("public_id", Text, nullable=False, unique=True),
    *_columns(Text, "merchant", "billing_payment_id"),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    *_columns(Text, "description", "customer_id", "customer_email", "customer_country", "tier", server_default=""),
    *_columns(Text, "service_ref", "return_url", "locale", server_default=""),
    # What a description ends with in brackets: the number by which people call the payment, see core.reference.
    Column("document", Text, nullable=False, server_default=""),
    *_columns(Text, "trace_id", "network", "wallet_id"),
    Column("address", Text, nullable=False, unique=True),
    Column("callback_token_sha256", Text, nullable=False, unique=True),
    *_columns(Text, "rule", "rule_terms", "policy_version", "status", "exception"),
    Column("hold", Text),
    Column("reason", Text, nullable=False),
    *_columns(BigInteger, "received_sat", "confirmed_sat", server_default="0"),
    Column("remaining_sat", BigInteger, nullable=False),
    Column("excess_sat", BigInteger, nullable=False, server_default="0"),
    Column("confirmations_seen", Integer, nullable=False, server_default="0"),
    Column("confirmations_needed", Integer, nullable=False, server_default="1"),
    *_columns(Text, "verdict", "billing_change", nullable=True),
    Column("provider_sat", BigInteger),
    *_columns(UtcTime, "provider_asked_at", "chain_asked_at", "disagrees_since", "covered_until", nullable=True),
    *_columns(Text, "gap", "gap_source", nullable=True),
    *_columns(UtcTime, "gap_since", "gap_at", nullable=True),
    Column("screening", Text, nullable=False, server_default="none"),
    Column("screened_sha256", Text, nullable=False, server_default=""),
    *_columns(Integer, "sequence", "version", server_default="0"),
    *_columns(UtcTime, "created_at", "updated_at", "expires_at", "monitor_until"),
    *_columns(UtcTime, "grace_until", "settled_at", "closed_at", "watched_until", nullable=True),
    Column("look_class", Integer, nullable=False, server_default="1"),
    Column("next_look_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime),
    Column("lease_owner", Text),
    # Since when part of what its rows say stands in its archive; None while all of it stands in them.
    Column("packed_at", UtcTime),
    UniqueConstraint("merchant", "billing_payment_id"),
    CheckConstraint("amount_minor > 0", name="amount"),
    CheckConstraint("status IN ('new','processing','settled','expired','invalid')", name="status"),
    Index("ix_invoices_due", "look_class", "next_look_at"),
    Index("ix_invoices_remaining", "remaining_sat", "status"),
    Index("ix_invoices_listing", "merchant", "status", "created_at"),
    Index("ix_invoices_customer", "merchant", "customer_id", "status", "created_at"),
    Index("ix_invoices_created", "created_at"),
    _where("ix_invoices_gap", "gap_since", condition="gap_since IS NOT NULL"),
    _where("ix_invoices_contacts", "created_at", condition=CONTACTS),
    _where("ix_invoices_unpacked", "created_at", condition=UNPACKED),
    Index("ix_invoices_open", "status", "closed_at", "wallet_id"),
    Index("ix_invoices_trace", "trace_id"),
    Index("ix_invoices_amount", "currency", "amount_minor", "created_at"),
    Index("ix_invoices_currency", "currency", "created_at"),
    Index("ix_invoices_merchant", "merchant", "created_at"),
    _where("ix_invoices_document", "document", condition=NUMBERED),
    _where("ix_invoices_email", "customer_email", condition=REACHABLE),
    _where("ix_invoices_exception", "exception", "created_at", condition=UNUSUAL),
    _where("ix_invoices_status", "status", "created_at", condition=UNSETTLED),
    _where("ix_invoices_hold", "hold", "created_at", condition="hold IS NOT NULL"),
    CheckConstraint("screening IN ('none','clear','hit','pending','unanswered')", name="screening"),
)

# What old invoices' rows said, see store.archive. While `is_open`, in the transaction that moves it, history may be changed.
archives = _table(
    "archives",
    Column("invoice_id", Text, ForeignKey("invoices.id"), primary_key=True),
    Column("form", Integer, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("is_open", Boolean, nullable=False, server_default=false()),
)

# Where an invoice is paid to, over which rail. An invoice's own address and wallet_id are those of its first one.
targets = _table(
    "targets",
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

quotes = _table(
    "quotes",
    Column("id", Serial, primary_key=True),
    _invoice_id(index=False),
    Column("version", Integer, nullable=False),
    *_columns(Text, "kind", "currency"),
    *_columns(BigInteger, "base_minor", "price_minor"),
    Column("risk_bps", Integer, nullable=False),
    *_columns(BigInteger, "fee_buffer_minor", "due_sat"),
    *_columns(UtcTime, "effective_from", "expires_at", "created_at"),
    *_columns(Text, "policy_version", "samples"),
    Column("asset", Text, nullable=False, server_default="BTC"),
    UniqueConstraint("invoice_id", "version"),
    CheckConstraint("due_sat > 0 AND base_minor > 0 AND price_minor > 0", name="positive"),
)

payments = _table(
    "payments",
    Column("id", Serial, primary_key=True),
    _invoice_id(index=False),
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
    Index("ix_payments_amount", "amount_sat"),
)

observations = _table(
    "observations",
    Column("id", Serial, primary_key=True),
    _invoice_id(),
    Column("source", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False, index=True),
    Column("body", Text, nullable=False),
)

journals = _table(
    "journals",
    Column("id", Serial, primary_key=True),
    _invoice_id(nullable=True),
    Column("payout_id", Text, ForeignKey("payouts.id")),
    *_columns(Text, "merchant", "kind", "family"),
    Column("at", UtcTime, nullable=False),
    Column("memo", Json, nullable=False, server_default=""),
    Column("reverses_id", BigInteger),
    Index("ix_journals_at", "at"),
    _where("ix_journals_payout", "payout_id", condition="payout_id IS NOT NULL"),
)

entries = _table(
    "entries",
    Column("id", Serial, primary_key=True),
    Column("journal_id", BigInteger, ForeignKey("journals.id"), nullable=False, index=True),
    Column("account", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("service_ref", Text, nullable=False, server_default=""),
)

# The ledger's sums, kept so that none is taken over all of history: what each account holds, and what moved on it in each hour, by
# the kind of journal. `debit` and `credit` are both zero or above. What a journal says is not in them while it is unsummed.
account_balances = _table(
    "account_balances",
    *_columns(Text, "merchant", "account", "asset", primary_key=True),
    Column("units", BigInteger, nullable=False),
)

turnovers = _table(
    "turnovers",
    Column("hour_at", UtcTime, primary_key=True),
    *_columns(Text, "merchant", "kind", "account", "asset", primary_key=True),
    *_columns(BigInteger, "debit", "credit"),
)

# Journals that are in no kept sum yet: a trigger puts each in here, whoever posts it, in the transaction that posts it.
unsummed_journals = _table(
    "unsummed_journals",
    Column("journal_id", BigInteger, primary_key=True, autoincrement=False),
)

audit = _table(
    "audit",
    Column("id", Serial, primary_key=True),
    _invoice_id(nullable=True),
    Column("at", UtcTime, nullable=False),
    *_columns(Text, "actor", "action"),
    *_columns(Text, "from_status", "to_status", "reason", "rule", "policy_version", server_default=""),
    Column("detail", Text, nullable=False, server_default="{}"),
)

# The hash chain is laid over committed audit rows by one leased job: chaining inside the writers' transactions would queue them all.
audit_chain = _table(
    "audit_chain",
    Column("position", Serial, primary_key=True),
    Column("audit_id", BigInteger, ForeignKey("audit.id"), nullable=False, unique=True),
    Column("sha256", Text, nullable=False),
)

# Up to where the chain was last walked: "full" from the beginning, "recent" from where the walk before it had ended. A walk
# from the beginning believes neither, so that a forged row here hides nothing from it.
audit_checks = _table(
    "audit_checks",
    Column("kind", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("broken", Text, nullable=False, server_default=""),
    CheckConstraint("kind IN ('full','recent')", name="kind"),
)

events = _table(
    "events",
    Column("id", Text, primary_key=True),
    _invoice_id(nullable=True, index=False),
    *_columns(Text, "merchant", "type"),
    Column("sequence", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("asset", Text, nullable=False, server_default="BTC"),
    UniqueConstraint("invoice_id", "sequence"),
)

event_positions = _table(
    "event_positions",
    Column("position", Serial, primary_key=True),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False, unique=True),
    Column("merchant", Text, nullable=False),
    Index("ix_event_positions_feed", "merchant", "position"),
)

# Events that have no position yet: a small queue, so that numbering never searches the whole history.
unnumbered_events = _table(
    "unnumbered_events",
    Column("event_id", Text, ForeignKey("events.id"), primary_key=True),
)

deliveries = _table(
    "deliveries",
    Column("id", Text, primary_key=True),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False, index=True),
    _invoice_id(nullable=True, index=False),
    Column("merchant", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    *_columns(UtcTime, "created_at", "next_try_at"),
    Column("lease_until", UtcTime),
    Column("lease_owner", Text),
    Column("finished_at", UtcTime),
    Index("ix_deliveries_due", "state", "next_try_at"),
    Index("ix_deliveries_order", "invoice_id", "sequence"),
    CheckConstraint("state IN ('pending','delivered','parked')", name="state"),
)

delivery_attempts = _table(
    "delivery_attempts",
    Column("id", Serial, primary_key=True),
    Column("delivery_id", Text, ForeignKey("deliveries.id"), nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("latency_ms", Integer, nullable=False),
    *_columns(Text, "body_sha256", "answer_excerpt"),
    Column("error", Text, nullable=False, server_default=""),
)

inbox = _table(
    "inbox",
    Column("id", Serial, primary_key=True),
    *_columns(Text, "source", "event_key"),
    _invoice_id(nullable=True),
    Column("received_at", UtcTime, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("copies", Integer, nullable=False, server_default="0"),
    UniqueConstraint("source", "event_key"),
    Index("ix_inbox_waiting", "state", "id"),
    _where("ix_inbox_bodies", "received_at", condition=BODIES),
    _where("ix_inbox_sessions", "received_at", condition=SESSIONS),
)

idempotency = _table(
    "idempotency",
    Column("merchant", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    *_columns(Text, "body_sha256", "state"),
    *_columns(UtcTime, "created_at", "lease_until"),
    Column("invoice_id", Text, index=True),
    Column("quote_version", Integer),
    *_columns(Text, "address", "settlement_status", nullable=True),
    Column("answer_status", Integer),
    Column("answer", Text),
    _where("ix_idempotency_answers", "created_at", condition=ANSWERS),
)

openings = _table(
    "openings",
    Column("merchant", Text, primary_key=True),
    Column("billing_payment_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
)

spare_addresses = _table(
    "spare_addresses",
    Column("address", Text, primary_key=True),
    *_columns(Text, "wallet_id", "network"),
    Column("created_at", UtcTime, nullable=False),
    Column("invoice_id", Text, unique=True),
    Index("ix_spare_addresses_free", "wallet_id", "invoice_id"),
)

# Addresses of the shop's own wallets, by their place in the descriptor: given out once, for one thing, for ever.
derived_addresses = _table(
    "derived_addresses",
    Column("address", Text, primary_key=True),
    *_columns(Text, "wallet_id", "network"),
    Column("address_index", BigInteger, nullable=False),
    *_columns(Text, "purpose", "used_by"),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("wallet_id", "address_index"),
    CheckConstraint("purpose IN ('invoice','sweep')", name="purpose"),
)

address_counters = _table(
    "address_counters",
    Column("wallet_id", Text, primary_key=True),
    Column("next_index", BigInteger, nullable=False),
)

reviews = _table(
    "reviews",
    Column("id", Text, primary_key=True),
    _invoice_id(nullable=True),
    *_columns(Text, "merchant", "kind", "severity", "state"),
    *_columns(UtcTime, "opened_at", "last_seen_at"),
    Column("times_seen", Integer, nullable=False, server_default="1"),
    Column("due_at", UtcTime, nullable=False),
    Column("blocks", Json(ensure_ascii=False), nullable=False, server_default="{}"),
    *_columns(Text, "decision", "actor", "note", nullable=True),
    Column("resolved_at", UtcTime),
    Index("ix_reviews_open", "state", "due_at"),
    CheckConstraint("state IN ('open','resolved')", name="state"),
)

modes = _table(
    "modes",
    Column("scope", Text, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    *_columns(Text, "actor", "reason"),
)

leases = _table(
    "leases",
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
)

# One row: the generation of the database, and the server that it was begun on, which a standby that takes over is not.
# `recheck`: what is owed since something may be missing, "owed" or the id of its reconciliation.
generation = _table(
    "generation",
    Column("id", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("mark", Text, nullable=False),
    Column("timeline", BigInteger),
    *_columns(Text, "system_id", "recheck", server_default=""),
    Column("is_synchronous", Boolean, nullable=False, server_default=false()),
    CheckConstraint("id = 1", name="one_row"),
)

# The highest block that any source has shown, and when one last did.
chain_tips = _table(
    "chain_tips",
    Column("network", Text, primary_key=True),
    Column("height", Integer, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("block_time", UtcTime),
)

# Each time that the clock of a node was found to have been wrong; `seconds` is by how much it is set back.
clock_jumps = _table(
    "clock_jumps",
    Column("id", Serial, primary_key=True),
    Column("noticed_at", UtcTime, nullable=False),
    Column("noticed_by", Text, nullable=False),
    Column("seconds", BigInteger, nullable=False),
)

# When calls were granted: a budget counts those of the last minute, whichever minute that is.
budget_calls = _table(
    "budget_calls",
    Column("name", Text, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("spent", Integer, nullable=False),
)

# What the gateway said the whole wallet holds, and since when that has been so: a hint which addresses can wait.
balance_marks = _table(
    "balance_marks",
    Column("wallet_id", Text, primary_key=True),
    Column("balance_sat", BigInteger, nullable=False),
    *_columns(UtcTime, "asked_at", "changed_at"),
)

budgets = _table(
    "budgets",
    Column("name", Text, primary_key=True),
    Column("window_start", UtcTime, nullable=False),
    Column("spent", Integer, nullable=False),
)

screenings = _table(
    "screenings",
    Column("id", Serial, primary_key=True),
    _invoice_id(),
    Column("at", UtcTime, nullable=False),
    *_columns(Text, "verdict", "subject", "subject_sha256"),
    *_columns(Text, "matched", "detail", server_default=""),
)

# What the billing system says of its own payments, newest report wins; a finished report says that nothing was left out.
billing_reports = _table(
    "billing_reports",
    Column("id", Text, primary_key=True),
    Column("merchant", Text, nullable=False),
    *_columns(UtcTime, "covers_from", "started_at"),
    Column("finished_at", UtcTime),
    Column("source", Text, nullable=False),
    Index("ix_billing_reports_newest", "merchant", "finished_at"),
)

billing_statuses = _table(
    "billing_statuses",
    Column("merchant", Text, primary_key=True),
    Column("billing_payment_id", Text, primary_key=True),
    Column("status", Integer, nullable=False),
    *_columns(Text, "amount_text", "currency"),
    *_columns(Text, "external_id", "address", server_default=""),
    Column("first_reported_at", UtcTime, nullable=False),
    Column("reported_at", UtcTime, nullable=False, index=True),
)

reconciliations = _table(
    "reconciliations",
    Column("id", Text, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("is_scheduled", Boolean, nullable=False),
    *_columns(UtcTime, "from_at", "to_at"),
    Column("started_at", UtcTime, nullable=False, index=True),
    Column("stepped_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("phase", Text, nullable=False),
    Column("cursor", Text, nullable=False, server_default=""),
    Column("counts", Json, nullable=False, server_default="{}"),
)

reconciliation_findings = _table(
    "reconciliation_findings",
    Column("id", Serial, primary_key=True),
    Column("reconciliation_id", Text, ForeignKey("reconciliations.id"), nullable=False, index=True),
    _invoice_id(nullable=True),
    *_columns(Text, "merchant", "side", "kind", "code", "ours", "theirs"),
    Column("variance_sat", BigInteger, nullable=False),
    Column("detail", Json, nullable=False, server_default="{}"),
    CheckConstraint("kind IN ('missing','extra','different')", name="kind"),
)

# Money in the gateway's wallet that is not the bridge's: said by a person, the newest row counts.
wallet_baselines = _table(
    "wallet_baselines",
    Column("id", Serial, primary_key=True),
    Column("wallet_id", Text, nullable=False, index=True),
    Column("baseline_sat", BigInteger, nullable=False),
    Column("at", UtcTime, nullable=False),
    *_columns(Text, "actor", "reason"),
)

payouts = _table(
    "payouts",
    Column("id", Text, primary_key=True),
    *_columns(Text, "kind", "state"),
    _invoice_id(nullable=True),
    *_columns(Text, "merchant", "billing_payment_id", "customer_id", "service_ref", "request_key", "request_sha256"),
    Column("variant", Text, nullable=False, server_default=""),
    Column("fiat_minor", BigInteger),
    Column("currency", Text, nullable=False, server_default=""),
    Column("price_minor", BigInteger),
    *_columns(Text, "role", "wallet_id", "network"),
    Column("destination", Text),
    Column("destination_set_at", UtcTime),
    Column("destination_set_by", Text, nullable=False, server_default=""),
    Column("fee_bps", FeeBps, nullable=False),
    *_columns(BigInteger, "gross_sat", "fee_sat", "net_sat"),
    *_columns(Text, "proposed_by", "reason"),
    Column("approvals_needed", Integer, nullable=False),
    Column("round", Integer, nullable=False, server_default="1"),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("maybe_sent", Boolean, nullable=False),
    Column("waiting", Text, nullable=False, server_default=""),
    *_columns(BigInteger, "balance_before_sat", "balance_after_sat", nullable=True),
    Column("txid", Text),
    *_columns(BigInteger, "sent_sat", "paid_fee_sat", nullable=True),
    Column("review_id", Text),
    Column("version", Integer, nullable=False, server_default="0"),
    *_columns(UtcTime, "requested_at", "updated_at"),
    Column("approved_at", UtcTime),
    Column("next_try_at", UtcTime, nullable=False),
    *_columns(UtcTime, "sent_at", "finished_at", "covered_until", "lease_until", nullable=True),
    Column("lease_owner", Text),
    UniqueConstraint("merchant", "request_key"),
    CheckConstraint("gross_sat > 0 AND net_sat > 0 AND fee_sat >= 0 AND gross_sat = net_sat + fee_sat", name="sums"),
    CheckConstraint(
        "state IN ('requested','approved','submitting','sent','confirmed','rejected','unknown','failed')", name="state"
    ),
    CheckConstraint("kind <> 'refund' OR invoice_id IS NOT NULL", name="refund_of"),
    Index("ix_payouts_due", "state", "next_try_at"),
    # The database itself refuses a second send while one is under way or uncertain.
    _one_where("uq_payouts_in_flight", "wallet_id", "state IN ('submitting','unknown')"),
)

payout_approvals = _table(
    "payout_approvals",
    Column("id", Serial, primary_key=True),
    Column("payout_id", Text, ForeignKey("payouts.id"), nullable=False),
    Column("round", Integer, nullable=False),
    *_columns(Text, "actor", "reason"),
    Column("at", UtcTime, nullable=False),
    UniqueConstraint("payout_id", "round", "actor"),
)

# A person's word that an invoice counts as paid, and who else must say so before it does. One waits per review item.
marks = _table(
    "marks",
    Column("id", Text, primary_key=True),
    Column("review_id", Text, ForeignKey("reviews.id"), nullable=False),
    _invoice_id(),
    *_columns(Text, "merchant", "state"),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    *_columns(BigInteger, "worth_sat", "received_sat", "remaining_sat"),
    *_columns(Text, "proposed_by", "reason"),
    Column("approvals_needed", Integer, nullable=False),
    Column("proposed_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    UniqueConstraint("id", "proposed_by"),
    CheckConstraint("state IN ('proposed','approved','rejected','lapsed')", name="state"),
    _one_where("uq_marks_waiting", "review_id", "state = 'proposed'"),
)

# Time to pay that a person gave, once per billing payment; it ends settled or lapsed, and forgives nothing.
grace_grants = _table(
    "grace_grants",
    Column("invoice_id", Text, ForeignKey("invoices.id"), primary_key=True),
    *_columns(Text, "merchant", "billing_payment_id", "tier"),
    Column("amount_minor", BigInteger, nullable=False),
    *_columns(Text, "currency", "approver", "reason", "state"),
    *_columns(UtcTime, "granted_at", "ends_at"),
    Column("ended_at", UtcTime),
    UniqueConstraint("merchant", "billing_payment_id"),
    CheckConstraint("state IN ('open','settled','lapsed')", name="state"),
    Index("ix_grace_grants_granted", "granted_at"),
)

# What a client claims about an invoice. `owner` looks after it; one claim of an invoice is open at a time.
claims = _table(
    "claims",
    Column("id", Text, primary_key=True),
    _invoice_id(),
    *_columns(Text, "merchant", "customer_id", "stage", "said", "txid", "owner"),
    Column("claimed_sat", BigInteger),
    *_columns(UtcTime, "opened_at", "stage_since"),
    Column("due_at", UtcTime),
    *_columns(Text, "outcome", "answer", "closed_by", server_default=""),
    Column("closed_at", UtcTime),
    CheckConstraint("stage IN ('inquiry','dispute','evidence','closed')", name="stage"),
    CheckConstraint("(stage = 'closed') = (due_at IS NULL)", name="deadline"),
    Index("ix_claims_opened", "opened_at"),
    Index("ix_claims_due", "due_at"),
    _one_where("uq_claims_open", "invoice_id", "stage <> 'closed'"),
)

mark_approvals = _approvals("mark_approvals", Column("mark_id", Text, nullable=False), of="marks.id")

# What the billing system says it has paid back by itself: absolute, so that hearing it twice changes nothing.
billing_refunds = _table(
    "billing_refunds",
    Column("invoice_id", Text, ForeignKey("invoices.id"), primary_key=True),
    Column("refunded_minor", BigInteger, nullable=False),
    Column("at", UtcTime, nullable=False),
)

# A payer's receipt by mail. The address is the invoice's, so that it is purged in one place.
receipt_mails = _table(
    "receipt_mails",
    Column("invoice_id", Text, ForeignKey("invoices.id"), primary_key=True),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    *_columns(UtcTime, "created_at", "next_try_at"),
    *_columns(UtcTime, "tried_at", "ended_at", nullable=True),
    Column("error", Text, nullable=False, server_default=""),
    CheckConstraint("state IN ('waiting','sent','failed')", name="state"),
    _where("ix_receipt_mails_waiting", "next_try_at", condition="state = 'waiting'"),
)

wallet_balances = _table(
    "wallet_balances",
    Column("role", Text, primary_key=True),
    Column("wallet_id", Text, nullable=False),
    *_columns(BigInteger, "confirmed_sat", "unconfirmed_sat"),
    Column("fee_bps", FeeBps, nullable=False),
    Column("min_send_sat", BigInteger, nullable=False),
    Column("read_at", UtcTime, nullable=False),
)

operators = _table(
    "operators",
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    *_columns(Text, "password_hash", "totp_nonce"),
    Column("last_totp_step", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    *_columns(UtcTime, "locked_until", "expires_at", nullable=True),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),
)

# Wrong log-ins by what was typed as the name, whoever has it or not. The key gives the name to nobody.
login_tries = _table(
    "login_tries",
    Column("name_key", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", UtcTime, nullable=False, index=True),
)

operator_sessions = _table(
    "operator_sessions",
    Column("token_sha256", Text, primary_key=True),
    Column("operator", Text, ForeignKey("operators.name"), nullable=False, index=True),
    Column("csrf_token", Text, nullable=False),
    *_columns(UtcTime, "created_at", "seen_at", "expires_at"),
)

operator_tokens = _table(
    "operator_tokens",
    Column("id", Text, primary_key=True),
    Column("operator", Text, ForeignKey("operators.name"), nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("token_sha256", Text, nullable=False, unique=True),
    Column("note", Text, nullable=False, server_default=""),
    *_columns(UtcTime, "starts_at", "ends_at"),
    Column("revoked_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),
)

# What the settings file says about money, version by version. At most one is active, and none proposed twice at a time.
policy_versions = _table(
    "policy_versions",
    Column("number", Integer, primary_key=True, autoincrement=False),
    *_columns(Text, "sha256", "document"),
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
    _one_where("uq_policy_versions_active", "status", "status = 'active'"),
    _one_where("uq_policy_versions_proposed", "sha256", "status = 'proposed'"),
)

policy_approvals = _approvals(
    "policy_approvals", Column("number", Integer, nullable=False), of="policy_versions.number"
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
    "archives",
)
