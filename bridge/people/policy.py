"""Policy versions: how they are shown and decided, which one is in force, and what an edited settings file leads to.

Owns the versions, people's decisions about them, and bringing one into force on this node.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bridge.context import Bridge, PolicyFile
from bridge.core.errors import Conflict, Refused, Unavailable, there
from bridge.core.policy import differences, sha256_of
from bridge.invoices.present import View, approvals_json
from bridge.language import Texts
from bridge.logs import log
from bridge.permit import Act, acting, refuse_same_person, require_words
from bridge.store import operators, policies
from bridge.store.db import Tx

if TYPE_CHECKING:
    from bridge.store.dossier import Dossier

# Who proposes what stands in the settings file without anybody's name on it.
FILE = "config"
# Clocks of two nodes may differ by this.
SKEW = timedelta(minutes=5)


class PolicyApprovalShape(View):
    """One person's approval."""

    actor: str
    reason: str
    at: str


class PolicyVersionView(View):
    """One version without its document; `base_number` is the version that was active when it was proposed."""

    number: int
    status: str
    sha256: str
    base_number: int | None
    proposed_by: str
    proposed_at: str
    reason: str
    approvals_needed: int
    approvals: list[PolicyApprovalShape]
    decided_by: str
    decided_at: str | None
    decision_reason: str


def version_json(tx: Tx, row: Any) -> dict[str, Any]:
    """A PolicyVersionView."""
    return PolicyVersionView.of(row, approvals=approvals_json(policies.approvals_of(tx, row.number)))


def comparison(before: Any, after: Any) -> list[dict[str, str | None]]:
    """Every setting that differs, old and new; nothing for the first version, which is compared with none."""
    return differences(before.document, after.document) if before is not None else []


def versions_of(dossier: "Dossier") -> dict[str, dict[str, Any]]:
    """The versions that an invoice and the decisions about it name, by the text that names them."""
    latest = dossier.invoice.created_at + SKEW
    known = [row for row in dossier.policies if row.decided_at is not None and row.decided_at <= latest]
    return {
        str(row.number): PolicyVersionView.of(row, approvals=approvals_json(dossier.policy_approvals[row.number]))
        for row in known
    }


def policy_words(name: str, versions: Mapping[str, dict[str, Any]], words: Texts) -> str:
    """The version by its name, and who stands behind it."""
    version = versions.get(name)
    if version is None:
        return words("story.policy.unknown", number=name)
    people = [each["actor"] for each in version["approvals"]]
    how = "approved" if people else "file" if version["proposed_by"] == FILE else "signed"
    return words(f"story.policy.{how}", number=name, people=", ".join(people) or version["proposed_by"])


ADOPTED = "The first start took the settings file."
EDITED = "The settings file was edited."
OVERTAKEN = "Another version came into force."
REPLACED = "The file was edited again, or somebody put a name to it."


def in_force(bridge: Bridge) -> Bridge:
    """The bridge under the version that is active now: itself while that has not changed.

    One small query, so that a program may ask every second. The very first start of a bridge adopts its file as version 1.
    Raises Unavailable (policy_altered, policy_unreadable, database_unavailable): then nothing may be decided by the file.
    """
    if bridge.policy_file is None:
        return bridge
    with bridge.store.read() as tx:
        number = policies.active_number(tx)
        if number is not None and number == bridge.policy_number:
            return bridge
        row = policies.active(tx)
    if row is None:
        _adopt(bridge, bridge.policy_file)
        return in_force(bridge)
    if not policies.is_intact(row):
        detail = f"Policy version {row.number} was altered in the database; see `verify-audit`."
        raise Unavailable("policy_altered", detail, retry_after_seconds=60)
    after = under(bridge, bridge.policy_file, row)
    log("policy.in_force", number=row.number, before=bridge.policy_number)
    # Whoever still asks the old price sources goes on undisturbed; only their idle connections go.
    bridge.rates.close()
    return after


def under(bridge: Bridge, file: PolicyFile, row: Any) -> Bridge:
    """The same parts under the rules of one version, whose number each decision names."""
    parts = dict(file.terms_of(row.document))
    parts["merchants"] = {
        name: replace(merchant, policy=replace(merchant.policy, version=str(row.number)))
        for name, merchant in parts["merchants"].items()
    }
    return replace(bridge, policy_number=row.number, **parts)


def take_file(bridge: Bridge) -> Bridge:
    """What a start or a reload does with the file, and the bridge to go on with.

    Without approvals an edited file is a new version at once; else it becomes a proposal of "config", once for the same
    content, and the active version stays. A content that was rejected under this version is not proposed again.
    """
    file, current = bridge.policy_file, in_force(bridge)
    if file is None:
        return current
    with bridge.store.read() as tx:
        if says_the_same(file, policies.active(tx)):
            return current
    now = bridge.clock()
    with bridge.store.write() as tx:
        policies.lock(tx)
        active = policies.active(tx)
        if not says_the_same(file, active):
            _take(Act(tx=tx, actor=FILE, reason=EDITED, now=now), file, active)
    return in_force(current)


def says_the_same(file: PolicyFile, row: Any) -> bool:
    """Whether the file says what a stored version says, whatever release wrote that version down."""
    return bool(file.normal(row.document) == file.document)


def approvals_asked(row: Any) -> int:
    """How many people besides the proposer the version itself wants for a change of it."""
    return int(json.loads(row.document)["approvals"])


def _take(act: Act, file: PolicyFile, active: Any) -> None:
    known = policies.newest_of(act.tx, sha256_of(file.document))
    if not approvals_asked(active):
        _put_in_force(act, file, active)
    elif known is None or known.status == "superseded" or known.number < active.number:
        _propose(act, file, active)


def _put_in_force(act: Act, file: PolicyFile, active: Any) -> Any:
    """A new version without approvals; the caller holds the lock. Returns its row."""
    file.terms_of(file.document)
    policies.change(act.tx, active, {"status": "superseded"})
    _supersede_waiting(act)
    row = policies.add(act.tx, _new(act, file, active) | {"approvals_needed": 0} | _decided(act, "active"))
    _note(act, "policy_changed", row, active)
    return row


def _propose(act: Act, file: PolicyFile, active: Any) -> Any:
    """A version that waits for people; the caller holds the lock. Returns its row.

    What nobody put a name to needs one person more: its first approver may have been its author.
    """
    file.terms_of(file.document)
    for row in policies.proposed(act.tx):
        if row.proposed_by == FILE:
            _end(replace(act, reason=REPLACED), row, "superseded")
    needed = approvals_asked(active) + (act.actor == FILE)
    row = policies.add(act.tx, _new(act, file, active) | {"status": "proposed", "approvals_needed": needed})
    _note(act, "policy_proposed", row, active)
    return row


def _supersede_waiting(act: Act) -> None:
    """What still waits was made against the version that just went, and would undo the new one."""
    for row in policies.proposed(act.tx):
        _end(replace(act, actor=FILE, reason=OVERTAKEN), row, "superseded")


def _end(act: Act, row: Any, status: str) -> None:
    """A proposal that never comes into force."""
    policies.change(act.tx, row, _decided(act, status))
    detail = {"before": "proposed", "after": status, "sha256": row.sha256}
    act.audit(f"policy_{status}", detail=detail, policy_version=str(row.number))


def _note(act: Act, action: str, row: Any, before: Any) -> None:
    """Who did what to which version, with every setting that it changes: before and after."""
    changes = comparison(before, row)
    detail = {
        "sha256": row.sha256,
        "before": before.number if before is not None else None,
        "after": row.number,
        "changes": changes,
    }
    act.audit(action, detail=detail, policy_version=str(row.number))
    log(action.replace("policy_", "policy."), number=row.number, actor=act.actor, changes=len(changes))


def _adopt(bridge: Bridge, file: PolicyFile) -> None:
    now = bridge.clock()
    with bridge.store.write() as tx:
        act = Act(tx=tx, actor=FILE, reason=ADOPTED, now=now)
        row = policies.add_first(tx, _new(act, file, None) | {"approvals_needed": 0} | _decided(act, "active"))
        if row is not None:
            _note(act, "policy_adopted", row, None)


def _decided(act: Act, status: str) -> dict[str, Any]:
    return {"status": status, "decided_by": act.actor, "decided_at": act.now, "decision_reason": act.reason}


def _new(act: Act, file: PolicyFile, base: Any) -> dict[str, Any]:
    return {
        "document": file.document,
        "sha256": sha256_of(file.document),
        "base_number": base.number if base is not None else None,
        "proposed_by": act.actor,
        "proposed_at": act.now,
        "reason": act.reason,
    }


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
            "approvals": approvals_asked(active),
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
        tx = act.tx
        policies.lock(tx)
        active = _found(policies.active(tx))
        if says_the_same(file, active):
            raise Conflict(
                "nothing_to_propose", f"The file says what version {active.number} says, and that is active."
            )
        waiting = policies.newest_of(tx, sha256_of(file.document))
        if waiting is not None and waiting.status == "proposed" and waiting.proposed_by != FILE:
            raise Conflict("already_proposed", f"{waiting.proposed_by} has proposed this as version {waiting.number}.")
        make = _propose if approvals_asked(active) else _put_in_force
        return version_json(tx, make(act, file, active))


def approve(bridge: Bridge, number: int, *, actor: str, reason: str) -> dict[str, Any]:
    """One person's approval; with enough of them the version is in force, on every node within about a second.

    Raises Refused (unknown_policy, unknown_operator, forbidden, same_person), Conflict("not_waiting") and
    Unavailable("policy_unreadable") for a version that this program could not work by.
    """
    with acting(bridge, "policy.approve", actor=actor, reason=reason, unless="read_only") as act:
        tx = act.tx
        policies.lock(tx)
        row, active = _waiting(tx, number), _found(policies.active(tx))
        given = [a.actor for a in policies.approvals_of(tx, number)]
        refuse_same_person(actor, involved=[row.proposed_by, *given])
        if bridge.policy_file is not None:
            bridge.policy_file.terms_of(row.document)
        policies.approve(tx, row, {"actor": actor, "reason": reason, "at": act.now})
        if len(given) + 1 < row.approvals_needed:
            _note(act, "policy_approval_given", row, active)
        else:
            policies.change(tx, active, {"status": "superseded"})
            policies.change(tx, row, _decided(act, "active"))
            _supersede_waiting(act)
            _note(act, "policy_approved", row, active)
        return version_json(tx, policies.find(tx, number))


def reject(bridge: Bridge, number: int, *, actor: str, reason: str) -> dict[str, Any]:
    """Ends a proposal, by an approver or by who may propose (a withdrawal).

    Raises Refused (unknown_policy, unknown_operator, forbidden) and Conflict("not_waiting").
    """
    with acting(
        bridge, "policy.propose", or_may="policy.approve", actor=actor, reason=reason, unless="read_only"
    ) as act:
        policies.lock(act.tx)
        _end(act, _waiting(act.tx, number), "rejected")
        return version_json(act.tx, policies.find(act.tx, number))


def _waiting(tx: Tx, number: int) -> Any:
    row = _found(policies.find(tx, number))
    if row.status != "proposed":
        raise Conflict("not_waiting", f"Version {number} is {row.status}; there is nothing to decide.")
    return row


def _found(row: Any) -> Any:
    return there(row, "unknown_policy", "policy version")


def _file_state(tx: Tx, file: PolicyFile | None, active: Any) -> str:
    if file is None or says_the_same(file, active):
        return "active"
    known = policies.newest_of(tx, sha256_of(file.document))
    if known is None or known.number < active.number or known.status not in ("proposed", "rejected"):
        return "edited"
    return str(known.status)


def _file_changes(file: PolicyFile | None, active: Any) -> list[dict[str, str | None]]:
    return differences(file.normal(active.document), file.document) if file is not None else []
