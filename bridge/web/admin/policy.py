"""Policy versions: what is in force, what waits for people, and what each version changed.

Owns the pages; two different people stand behind every change, and the flows refuse what the pages do not offer.
"""

from flask import request

from bridge.core.errors import Refused
from bridge.desk.desk import policies
from bridge.people.policy import list_versions, show_policy, show_version
from bridge.web.admin.door import bridge, page, render


@page("/policy")
def policy() -> str:
    """What is in force and what waits; then every merchant's rules as they are in force."""
    before = request.args.get("before", "")
    if before and not (before.isascii() and before.isdecimal() and len(before) < 10):
        raise Refused("invalid_cursor", "Use the next_before of the page before.", field="before")
    found = list_versions(bridge(), limit=20, before=int(before) if before else None)
    # A bridge that was put together without a settings file has no versions.
    state = show_policy(bridge()) if bridge().policy_number else None
    return render("policy.html", state=state, found=found, policies=policies(bridge()))


@page("/policy/<int:number>")
def policy_version(number: int) -> str:
    """One version with everything that it changed, and what this person may do about it."""
    return render("policy_version.html", version=show_version(bridge(), number))
