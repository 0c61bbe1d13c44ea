"""The errors a caller can act on, each with a stable code.

Owns the exception types that cross rooms; must not know about HTTP, where `web/errors.py` maps codes to statuses.
"""

from typing import TypeVar

Found = TypeVar("Found")


class BridgeError(Exception):
    """Base of every error that crosses a room. `code` is stable and documented; `field` names the offending input."""

    def __init__(self, code: str, detail: str, *, field: str | None = None, retry_after_seconds: int | None = None):
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class Refused(BridgeError):
    """The request is understood and refused; repeating it unchanged will not help."""


class Conflict(BridgeError):
    """The request collides with what is already there or still running."""


class Unavailable(BridgeError):
    """An outside world (provider, prices, chain) cannot answer now; the same request may succeed later."""


class ProtocolError(BridgeError):
    """An outside world answered something the contract does not allow: never "paid" and never "not paid"."""


class OutcomeUnknown(BridgeError):
    """A call with an effect was cut off: it may have happened or not, so nothing may be repeated under a new key."""


class IllegalMove(Exception):
    """A decision asked for a state change that the table of legal moves does not hold: a defect, never a user error."""


def there(found: Found | None, code: str, what: str, *, field: str | None = None) -> Found:
    """What was looked for; raises Refused(code) where there is no such thing."""
    if found is None:
        raise Refused(code, f"There is no such {what}.", field=field)
    return found
