"""Policy versions as JSON, and in a few words for the story of an invoice.

Owns these shapes; must not decide anything.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from bridge.core.policy_document import differences
from bridge.flows.present import approvals_json, time_text
from bridge.language import Texts
from bridge.store import policies
from bridge.store.db import Tx

# Who proposes what stands in the settings file without anybody's name on it.
FILE = "config"
# Clocks of two nodes may differ by this.
SKEW = timedelta(minutes=5)


def version_json(tx: Tx, row: Any) -> dict[str, Any]:
    """One version without its document; `base_number` is the version that was active when it was proposed."""
    return {
        "number": row.number,
        "status": row.status,
        "sha256": row.sha256,
        "base_number": row.base_number,
        "proposed_by": row.proposed_by,
        "proposed_at": time_text(row.proposed_at),
        "reason": row.reason,
        "approvals_needed": row.approvals_needed,
        "approvals": approvals_json(policies.approvals_of(tx, row.number)),
        "decided_by": row.decided_by,
        "decided_at": time_text(row.decided_at) if row.decided_at is not None else None,
        "decision_reason": row.decision_reason,
    }


def comparison(before: Any, after: Any) -> list[dict[str, str | None]]:
    """Every setting that differs, old and new; nothing for the first version, which is compared with none."""
    return differences(before.document, after.document) if before is not None else []


def versions_of(tx: Tx, invoice: Any, decisions: Iterable[Any] = ()) -> dict[str, dict[str, Any]]:
    """The versions that an invoice and the decisions about it name, by the text that names them.

    A name from before versions were kept is a remark of the operator's, not a number: those versions are unknown here.
    """
    named = {invoice.policy_version, *(row.policy_version for row in decisions)}
    numbers = {int(text) for text in named if text.isascii() and text.isdecimal() and len(text) < 10}
    rows = policies.of_numbers(tx, numbers)
    latest = invoice.created_at + SKEW
    known = [row for row in rows if row.decided_at is not None and row.decided_at <= latest]
    return {str(row.number): version_json(tx, row) for row in known}


def policy_words(name: str, versions: Mapping[str, dict[str, Any]], words: Texts) -> str:
    """The version by its name, and who stands behind it."""
    version = versions.get(name)
    if version is None:
        return words("story.policy.unknown", number=name)
    people = [each["actor"] for each in version["approvals"]]
    how = "approved" if people else "file" if version["proposed_by"] == FILE else "signed"
    return words(f"story.policy.{how}", number=name, people=", ".join(people) or version["proposed_by"])
