"""Grace grants: time to pay that a person gave, one per invoice for ever.

Owns these rows; when a grant ends is `core.grace`'s to say.
"""

from datetime import datetime

from sqlalchemy import Connection

from bridge.store.rows import Rows
from bridge.store.tables import grace_grants

_GRANTS = Rows(table=grace_grants, order=(grace_grants.c.granted_at.desc(), grace_grants.c.invoice_id))
add, find, listing = _GRANTS.add, _GRANTS.find, _GRANTS.listing


def end(tx: Connection, invoice_id: str, *, state: str, now: datetime) -> None:
    _GRANTS.change(tx, {"state": state, "ended_at": now}, invoice_id=invoice_id, state="open")
