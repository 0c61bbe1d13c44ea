"""Checking the hash chain over the audit, and the policy versions against it.

Owns the report; the chain is `store.audit`'s.
"""

from dataclasses import dataclass

from bridge.flows.context import Bridge
from bridge.store import audit, policies


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Whether the chain is whole, and what to say about it."""

    is_intact: bool
    detail: str


def verify_audit(bridge: Bridge) -> AuditReport:
    with bridge.store.read() as tx:
        broken = audit.first_break(tx) or policies.first_break(tx)
        count = audit.count_sealed(tx)
    if broken is not None:
        return AuditReport(is_intact=False, detail=f"The audit was tampered with: {broken}.")
    return AuditReport(is_intact=True, detail=f"The audit is intact: {count} sealed rows.")
