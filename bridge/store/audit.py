"""Who did what, when and by which rule: appended with the change itself, then sealed in a hash chain.

Owns the audit rows and their chain; must not be written to by anything but a flow.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from bridge.store.tables import audit, audit_chain
from bridge.store.together import Together

GENESIS = "0" * 64
# A transaction may commit after a later one was sealed; it is looked for this many ids back, not in the whole history.
STRAGGLERS = 5_000
_WRITE = insert(audit)


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
    tx.execute(_WRITE, values)


def of_invoice(tx: Connection, invoice_id: str) -> Sequence[Row[Any]]:
    return tx.execute(select(audit).where(audit.c.invoice_id == invoice_id).order_by(audit.c.id)).all()


def seal(tx: Connection, *, limit: int) -> int:
    """Chains committed rows that are not chained yet and returns how many. The caller holds the sealing lease."""
    head = tx.execute(select(audit_chain).order_by(audit_chain.c.position.desc()).limit(1)).one_or_none()
    position, digest = (head.position, head.sha256) if head is not None else (0, GENESIS)
    unsealed = (
        select(audit)
        .outerjoin(audit_chain, audit_chain.c.audit_id == audit.c.id)
        .where(audit_chain.c.audit_id.is_(None), audit.c.id > _last_sealed() - STRAGGLERS)
        .order_by(audit.c.id)
        .limit(limit)
    )
    sealed = []
    for row in tx.execute(unsealed):
        position, digest = position + 1, _link(digest, row)
        sealed.append({"position": position, "audit_id": row.id, "sha256": digest})
    if sealed:
        tx.execute(insert(audit_chain), sealed)
    return len(sealed)


def first_break(tx: Connection) -> str | None:
    """What is wrong with the chain, in words, or None when every sealed row is as it was and none is missing."""
    rows = select(audit_chain.c.position, audit_chain.c.sha256, audit)
    rows = rows.outerjoin(audit, audit.c.id == audit_chain.c.audit_id).order_by(audit_chain.c.position)
    digest = GENESIS
    for expected, row in enumerate(tx.execute(rows), 1):
        if row.position != expected:
            return f"position {expected} is missing from the chain"
        if row.id is None:
            return f"the audit row at position {row.position} was removed"
        digest = _link(digest, row)
        if digest != row.sha256:
            return f"audit row {row.id} at position {row.position} was altered"
    return None


def any_unsealed(tx: Connection) -> bool:
    """Whether rows wait for the chain; both maxima come from an index."""
    return tx.execute(_ANY_UNSEALED).first() is not None


def _last_sealed() -> Any:
    return select(func.coalesce(func.max(audit_chain.c.audit_id), 0)).scalar_subquery()


_ANY_UNSEALED = select(audit.c.id).where(audit.c.id > _last_sealed()).limit(1)


def count_sealed(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(audit_chain)).scalar_one())


def _link(previous: str, row: Row[Any]) -> str:
    fields = [previous, str(row.id), row.at.isoformat()]
    fields += [str(getattr(row, name)) for name in ("actor", "action", "invoice_id", "from_status", "to_status")]
    fields += [row.reason, row.rule, row.policy_version, row.detail]
    return hashlib.sha256("\x1f".join(fields).encode()).hexdigest()
