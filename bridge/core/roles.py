"""Who may do what: roles, permissions, and the rule that nobody can both propose and approve.

Owns the table that a test walks over; must not know a person.
"""

from bridge.core.errors import Refused
from bridge.core.kinds import RULINGS

PERMISSIONS = frozenset(
    {
        "read",
        "review.resolve",
        "review.mark",
        "mark.approve",
        "grace.grant",
        "delivery.redeliver",
        "payout.propose",
        "payout.approve",
        "policy.propose",
        "policy.approve",
        "books.export",
        "mode.set",
        "operator.manage",
    }
)
# What one person proposes and another approves: no role may hold both halves of a line.
TWO_PEOPLE = (
    ("payout.propose", "payout.approve"),
    ("policy.propose", "policy.approve"),
    ("review.mark", "mark.approve"),
)
_DESK = frozenset({"read", "review.resolve", "delivery.redeliver", "payout.propose"})
ROLES = {
    "viewer": frozenset({"read"}),
    "support": _DESK,
    "finance": _DESK | {"review.mark", "policy.propose", "books.export", "mode.set"},
    "approver": frozenset({"read", "grace.grant", "mark.approve", "payout.approve", "policy.approve", "books.export"}),
    "admin": frozenset({"read", "delivery.redeliver", "mode.set", "operator.manage"}),
}


def may(role: str, permission: str) -> bool:
    """Whether a role holds a permission; an unknown role holds none."""
    return permission in ROLES.get(role, frozenset())


def require(role: str, permission: str) -> None:
    """Raises Refused("forbidden") when the role does not hold the permission."""
    if not may(role, permission):
        raise Refused("forbidden", f"The role {role} may not do this: it needs {permission}.")


def permission_of_ruling(decision: str) -> str:
    """What a person needs to rule so on a review item."""
    return RULINGS[decision].permission if decision in RULINGS else "review.resolve"
