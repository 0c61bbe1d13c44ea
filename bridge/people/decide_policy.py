"""People decide about policy versions: propose under a name, approve, reject, look.

Owns the second pair of eyes; which version is in force is looked up in `people.policy`.
"""

from datetime import datetime
from typing import Any

from bridge.context import Bridge, PolicyFile
from bridge.core.errors import Conflict, Refused, Unavailable
from bridge.core.policy_document import differences, sha256_of
from bridge.people import policy
from bridge.people.policy import FILE, comparison, version_json
from bridge.permit import acting, refuse_same_person, require_words
from bridge.store import operators, policies
from bridge.store.db import Tx

MAX_LIMIT = 200


def list_versions(bridge: Bridge, *, limit: int = 50, before: int | None = None) -> dict[str, Any]:
    """Newest first, without their documents; `next_before` is the number to go on from."""
    limit = max(1, min(limit, MAX_LIMIT))
    with bridge.store.read() as tx:
        rows = policies.listing(tx, limit=limit + 1, cursor=None if before is None else (before,))
        shown = [version_json(tx, row) for row in rows[:limit]]
    return {"versions": shown, "next_before": shown[-1]["number"] if len(rows) > limit else None}


def show_version(bridge: Bridge, number: int) -> dict[str, Any]:
    """One version with its document and what it changed, against the version that it was made from.

    Raises Refused("unknown_policy").
    """
    with bridge.store.read() as tx:
        row = _found(policies.find(tx, number))
        base = policies.find(tx, row.base_number) if row.base_number is not None else None
        return version_json(tx, row) | {"document": row.document, "changes": comparison(base, row)}


def show_policy(bridge: Bridge) -> dict[str, Any]:
    """What is in force, what waits for people and what it would change, and how this program's file stands to it.

    `file` is active, proposed, rejected or edited: the last is an edit that was not taken yet, by a start or a reload.
    """
    with bridge.store.read() as tx:
        active = policies.active(tx)
        if active is None:
            raise Unavailable("no_policy", "No policy version is in force yet: start `serve` or `worker` once.")
        waiting = [version_json(tx, row) | {"changes": comparison(active, row)} for row in policies.proposed(tx)]
        return {
            "active": version_json(tx, active) | {"document": active.document},
            "proposed": waiting,
            "approvals": policy.approvals_asked(active),
            "approvers": operators.count_active(tx, role="approver"),
            "file": _file_state(tx, bridge.policy_file, active),
            "file_changes": _file_changes(bridge.policy_file, active),
        }


def compare_versions(bridge: Bridge, before: int, after: int) -> list[dict[str, Any]]:
    """Every setting that differs between two versions. Raises Refused("unknown_policy")."""
    with bridge.store.read() as tx:
        return comparison(_found(policies.find(tx, before)), _found(policies.find(tx, after)))


def propose(bridge: Bridge, *, actor: str, reason: str) -> dict[str, Any]:
    """Puts a name to what this program's settings file says. Without approvals it is in force at once.

    Raises Refused (forbidden, unknown_operator) and Conflict (nothing_to_propose, already_proposed).
    """
    require_words(actor, reason)
    file = bridge.policy_file
    if file is None or actor == FILE:
        raise Refused("bad_name", "Say which person proposes this.", field="actor")
    with acting(bridge, "policy.propose", actor=actor, reason=reason, unless="read_only") as act:
        tx, now = act.tx, act.now
        policies.lock(tx)
        active = _found(policies.active(tx))
        if policy.says_the_same(file, active):
            raise Conflict(
                "nothing_to_propose", f"The file says what version {active.number} says, and that is active."
            )
        waiting = policies.newest_of(tx, sha256_of(file.document))
        if waiting is not None and waiting.status == "proposed" and waiting.proposed_by != FILE:
            raise Conflict("already_proposed", f"{waiting.proposed_by} has proposed this as version {waiting.number}.")
        make = policy.propose_in if policy.approvals_asked(active) else policy.put_in_force
        return version_json(tx, make(tx, file, active, actor=actor, reason=reason, now=now))


def approve(bridge: Bridge, number: int, *, actor: str, reason: str) -> dict[str, Any]:
    """One person's approval; with enough of them the version is in force, on every node within about a second.

    Raises Refused (unknown_policy, unknown_operator, forbidden, same_person), Conflict("not_waiting") and
    Unavailable("policy_unreadable") for a version that this program could not work by.
    """
    with acting(bridge, "policy.approve", actor=actor, reason=reason, unless="read_only") as act:
        tx, now = act.tx, act.now
        policies.lock(tx)
        row = _waiting(tx, number)
        refuse_same_person(actor, involved=[row.proposed_by, *(a.actor for a in policies.approvals_of(tx, number))])
        if bridge.policy_file is not None:
            bridge.policy_file.terms_of(row.document)
        policies.approve(tx, row, {"actor": actor, "reason": reason, "at": now})
        _count(tx, row, actor=actor, reason=reason, now=now)
        return version_json(tx, policies.find(tx, number))


def reject(bridge: Bridge, number: int, *, actor: str, reason: str) -> dict[str, Any]:
    """Ends a proposal, by an approver or by who may propose (a withdrawal).

    Raises Refused (unknown_policy, unknown_operator, forbidden) and Conflict("not_waiting").
    """
    with acting(
        bridge, "policy.propose", or_may="policy.approve", actor=actor, reason=reason, unless="read_only"
    ) as act:
        tx, now = act.tx, act.now
        policies.lock(tx)
        policy.end(tx, _waiting(tx, number), "rejected", actor=actor, reason=reason, now=now)
        return version_json(tx, policies.find(tx, number))


def _count(tx: Tx, row: Any, *, actor: str, reason: str, now: datetime) -> None:
    """Another approval, or the last one that was missing: then the version takes the place of the active one."""
    active = _found(policies.active(tx))
    if len(policies.approvals_of(tx, row.number)) < row.approvals_needed:
        policy.note(tx, "policy_approval_given", row, active, actor=actor, reason=reason, now=now)
        return
    decided = {"status": "active", "decided_by": actor, "decided_at": now, "decision_reason": reason}
    policies.change(tx, active, {"status": "superseded"})
    policies.change(tx, row, decided)
    policy.supersede_waiting(tx, now=now)
    policy.note(tx, "policy_approved", row, active, actor=actor, reason=reason, now=now)


def _waiting(tx: Tx, number: int) -> Any:
    row = _found(policies.find(tx, number))
    if row.status != "proposed":
        raise Conflict("not_waiting", f"Version {number} is {row.status}; there is nothing to decide.")
    return row


def _found(row: Any) -> Any:
    if row is None:
        raise Refused("unknown_policy", "There is no such policy version.")
    return row


def _file_state(tx: Tx, file: PolicyFile | None, active: Any) -> str:
    if file is None or policy.says_the_same(file, active):
        return "active"
    known = policies.newest_of(tx, sha256_of(file.document))
    if known is None or known.number < active.number or known.status not in ("proposed", "rejected"):
        return "edited"
    return str(known.status)


def _file_changes(file: PolicyFile | None, active: Any) -> list[dict[str, str | None]]:
    return differences(file.normal(active.document), file.document) if file is not None else []
