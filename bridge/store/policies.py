"""Policy versions and their approvals: rows in and out, and the queue of those who change them.

Owns their queries; must not decide which version is active, `people.policy` does.
"""

import json
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, func, select

from bridge.core.errors import Conflict
from bridge.core.policy import sha256_of
from bridge.store.db import insert_into
from bridge.store.rows import Rows
from bridge.store.tables import audit, policy_approvals, policy_versions
from bridge.store.together import ask

VersionRow = Row[Any]
_VERSIONS = Rows(table=policy_versions, order=(policy_versions.c.number.desc(),))
_APPROVALS = Rows(table=policy_approvals, told=(policy_approvals.c.id,), under="number")
listing, approvals_of, active = _VERSIONS.listing, _APPROVALS.of, partial(_VERSIONS.find, status="active")
# What waits for people, newest first.
proposed = partial(_VERSIONS.listing, match={"status": "proposed"})
FIRST, MOST = 1, 2**31 - 1
# The audit's words for how a version came into being, and for how it came into force.
MADE = ("policy_adopted", "policy_proposed", "policy_changed")
ACTIVATED = ("policy_adopted", "policy_changed", "policy_approved")


def active_number(tx: Connection) -> int | None:
    """The number of the version in force, None before the first start: one look into a small index."""
    return ask(tx, _ACTIVE_NUMBER).scalar_one_or_none()


def find(tx: Connection, number: int) -> VersionRow | None:
    """None too for a number that no column could hold: it came from a stranger's address."""
    return None if number > MOST else _VERSIONS.find(tx, number)


def lock(tx: Connection) -> None:
    """Whoever changes versions takes turns: the first row never goes, so it is the one they queue at."""
    tx.execute(select(policy_versions.c.number).where(policy_versions.c.number == FIRST).with_for_update())


def add_first(tx: Connection, values: Mapping[str, Any]) -> VersionRow | None:
    """Version 1, unless another node was faster: then None."""
    fresh = insert_into(tx, policy_versions).values(number=FIRST, **values).on_conflict_do_nothing()
    return tx.execute(fresh.returning(policy_versions)).one_or_none()


def add(tx: Connection, values: Mapping[str, Any]) -> VersionRow:
    """The next version; the caller holds the lock."""
    number = int(tx.execute(select(func.max(policy_versions.c.number))).scalar_one()) + 1
    return _VERSIONS.add(tx, {"number": number, **values})


def change(tx: Connection, row: VersionRow, values: Mapping[str, Any]) -> VersionRow:
    """Says what became of a version. Raises Conflict("policy_decided") when somebody else was faster."""
    after = _VERSIONS.change(tx, values, number=row.number, status=row.status)
    if after is None:
        raise Conflict("policy_decided", "Somebody else has decided about this version; look at it again.")
    return after


def newest_of(tx: Connection, sha256: str) -> VersionRow | None:
    """The newest version with this content."""
    return next(iter(_VERSIONS.listing(tx, match={"sha256": sha256}, limit=1)), None)


def approve(tx: Connection, row: VersionRow, values: Mapping[str, Any]) -> None:
    """The database refuses the proposer's own approval and a second one of the same person."""
    _APPROVALS.add(tx, {"number": row.number, "proposed_by": row.proposed_by, **values})


def is_intact(row: VersionRow) -> bool:
    """Whether a version's text still is the one that was proposed."""
    return sha256_of(str(row.document)) == str(row.sha256)


def first_break(tx: Connection) -> str | None:
    """What is wrong with the versions, in words, or None when every one is as the audit says it was proposed and decided.

    A version that comes while this looks is no break: versions are read before what must be told of them.
    """
    versions = tx.execute(select(policy_versions).order_by(policy_versions.c.number)).all()
    made = _told(tx, MADE)
    for row in versions:
        if not is_intact(row) or made.get(str(row.number)) != row.sha256:
            return f"policy version {row.number} was altered"
    # In one statement, which sees one moment.
    number, activated = tx.execute(select(_ACTIVE_NUMBER.scalar_subquery(), _LAST_ACTIVATED.scalar_subquery())).one()
    if number is not None and activated != str(number):
        return f"policy version {number} is active, and nobody made it so"
    return None


def _told(tx: Connection, actions: Collection[str]) -> dict[str, str]:
    """The hash of each version as the audit kept it."""
    rows = select(audit.c.policy_version, audit.c.detail).where(audit.c.action.in_(actions))
    return {row.policy_version: str(json.loads(row.detail).get("sha256")) for row in tx.execute(rows)}


_ACTIVE_NUMBER = select(policy_versions.c.number).where(policy_versions.c.status == "active")
_LAST_ACTIVATED = (
    select(audit.c.policy_version).where(audit.c.action.in_(ACTIVATED)).order_by(audit.c.id.desc()).limit(1)
)
