"""Who did what, when and by which rule: appended with the change itself, then sealed in a hash chain.

Owns the audit rows and their chain; must not be written to by anything but a flow.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from bridge.core.errors import Unavailable
from bridge.store import archive
from bridge.store.db import put_row
from bridge.store.rows import Rows, moment
from bridge.store.tables import audit, audit_chain, audit_checks
from bridge.store.together import Together, ask, put

_AUDIT = Rows(table=audit, order=(audit.c.id.desc(),))
_WITH_POSITION = select(audit, audit_chain.c.position)
_WITH_POSITION = _WITH_POSITION.outerjoin(audit_chain, audit_chain.c.audit_id == audit.c.id)
# A listing tells each row's place in the hash chain, None while it is not sealed.
listing = partial(_AUDIT.listing, query=_WITH_POSITION)
GENESIS = "0" * 64
# A transaction may commit after a later one was sealed; it is looked for this many ids back, not in the whole history.
STRAGGLERS = 5_000
_WRITE = insert(audit)


class Link(NamedTuple):
    """One place in the chain and its hash; nothing before the first."""

    position: int = 0
    sha256: str = GENESIS


@dataclass(frozen=True, kw_only=True)
class Walk:
    """How far a walk along the chain came, what is broken behind there in words, and whether that was the chain's end."""

    end: Link
    broken: str | None = None
    is_over: bool = True


def write(
    tx: Connection | Together,
    *,
    at: datetime,
    actor: str,
    action: str,
    invoice_id: str | None = None,
    from_status: str = "",
    to_status: str = "",
    reason: str = "",
    rule: str = "",
    policy_version: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    values = {
        "at": at,
        "actor": actor,
        "action": action,
        "invoice_id": invoice_id,
        "from_status": from_status,
        "to_status": to_status,
        "reason": reason,
        "rule": rule,
        "policy_version": policy_version,
        "detail": json.dumps(detail or {}, sort_keys=True, ensure_ascii=False),
    }
    put(tx, _WRITE, values)


def seal(tx: Connection, *, limit: int) -> int:
    """Chains committed rows that are not chained yet and returns how many. The caller holds the sealing lease."""
    head = ask(tx, _HEAD).one_or_none()
    position, digest = (head.position, head.sha256) if head is not None else (0, GENESIS)
    sealed = []
    for row in tx.execute(_UNSEALED, {"most": limit}):
        position, digest = position + 1, _link(digest, row)
        sealed.append({"position": position, "audit_id": row.id, "sha256": digest})
    if sealed:
        tx.execute(_SEAL, sealed)
    return len(sealed)


def walk(tx: Connection, start: Link, *, limit: int) -> Walk:
    """Checks up to `limit` sealed rows behind `start`, which itself must be as it was. Small pages: the rows are long."""
    if start.position and _sealed_as(tx, start.position) != start.sha256:
        return Walk(end=start, broken=f"position {start.position} is not what it was when the chain was checked before")
    rows = select(audit_chain.c.position, audit_chain.c.sha256, audit)
    rows = rows.outerjoin(audit, audit.c.id == audit_chain.c.audit_id).where(audit_chain.c.position > start.position)
    position, digest, count = start.position, start.sha256, 0
    try:
        sealed = archive.filled(tx, audit, tx.execute(rows.order_by(audit_chain.c.position).limit(limit)).all())
    except Unavailable as damaged:
        return Walk(end=start, broken=f"behind position {start.position}: {damaged.detail}")
    for row in sealed:
        count += 1
        broken = _broken(row, after=position, digest=digest)
        if broken is not None:
            return Walk(end=Link(position, digest), broken=broken)
        position, digest = row.position, row.sha256
    return Walk(end=Link(position, digest), is_over=count < limit)


def _broken(row: Row[Any], *, after: int, digest: str) -> str | None:
    if row.position != after + 1:
        return f"position {after + 1} is missing from the chain"
    if row.id is None:
        return f"the audit row at position {row.position} was removed"
    if _link(digest, row) != row.sha256:
        return f"audit row {row.id} at position {row.position} was altered"
    return None


def _sealed_as(tx: Connection, position: int) -> str | None:
    found: str | None = tx.execute(select(audit_chain.c.sha256).where(audit_chain.c.position == position)).scalar()
    return found


def is_link(tx: Connection, position: int, sha256: str) -> bool:
    return sha256 != "" and _sealed_as(tx, position) == sha256


def checks(tx: Connection) -> dict[str, Row[Any]]:
    """The last walk of each kind."""
    return {row.kind: row for row in tx.execute(select(audit_checks))}


def note_check(tx: Connection, kind: str, found: Walk, *, at: datetime) -> None:
    """Keeps how far a walk came and what it found."""
    values = {"position": found.end.position, "sha256": found.end.sha256, "at": at, "broken": found.broken or ""}
    put_row(tx, audit_checks, {"kind": kind}, values)


def oldest_at(tx: Connection) -> datetime | None:
    return moment(tx, select(audit.c.at).order_by(audit.c.id).limit(1))


def any_unsealed(tx: Connection) -> bool:
    """Whether rows wait for the chain; both maxima come from an index."""
    return ask(tx, _ANY_UNSEALED).first() is not None


def _last_sealed() -> Any:
    return select(func.coalesce(func.max(audit_chain.c.audit_id), 0)).scalar_subquery()


# Statements are built once: building one costs several times its execution.
_ANY_UNSEALED = select(audit.c.id).where(audit.c.id > _last_sealed()).limit(1)
_HEAD = select(audit_chain).order_by(audit_chain.c.position.desc()).limit(1)
_UNSEALED = (
    select(audit)
    .outerjoin(audit_chain, audit_chain.c.audit_id == audit.c.id)
    .where(audit_chain.c.audit_id.is_(None), audit.c.id > _last_sealed() - STRAGGLERS)
    .order_by(audit.c.id)
    .limit(bindparam("most"))
)
_SEAL = insert(audit_chain).inline()


def _link(previous: str, row: Row[Any]) -> str:
    fields = [previous, str(row.id), row.at.isoformat()]
    fields += [str(getattr(row, name)) for name in ("actor", "action", "invoice_id", "from_status", "to_status")]
    fields += [row.reason, row.rule, row.policy_version, row.detail]
    return hashlib.sha256("\x1f".join(fields).encode()).hexdigest()
