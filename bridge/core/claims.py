"""A client's claim: its stages, how long each may last, and how it can end.

Owns these rules; must not know who enters a claim, nor move money: what is right about it follows by the desk's other actions.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from bridge.core.books import DAY_SECONDS
from bridge.core.errors import Conflict, Refused
from bridge.core.limits import Positive

# The stages that a claim is taken on to; the first is where it begins.
Later = Literal["dispute", "evidence"]
Stage = Literal["inquiry", Later, "closed"]
STAGES: tuple[str, ...] = get_args(Stage)
OPEN, CLOSED = STAGES[:-1], STAGES[-1]
Outcome = Literal["upheld", "declined", "withdrawn"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)


@dataclass(frozen=True, kw_only=True)
class ClaimRules:
    """How long a claim may stand in each stage before somebody is called: asked back, disputed, evidence gathered."""

    inquiry_seconds: Positive = DAY_SECONDS
    dispute_seconds: Positive = 3 * DAY_SECONDS
    evidence_seconds: Positive = 7 * DAY_SECONDS

    def due_at(self, stage: str, *, now: datetime) -> datetime:
        return now + timedelta(seconds=getattr(self, f"{stage}_seconds"))


def check_move(before: str, after: str) -> None:
    """A claim only goes on, and may skip a stage. Raises Conflict("claim_closed") and Refused("claim_stage")."""
    if before == CLOSED:
        raise Conflict("claim_closed", "This claim is closed; enter another one.")
    if STAGES.index(after) <= STAGES.index(before):
        raise Refused("claim_stage", f"The claim is in the stage {before} already; it only goes on.", field="stage")
