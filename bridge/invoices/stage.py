"""Refusing what goes beyond a merchant's stage, and showing how much of the day is used.

Owns the counting and its lock; the limits are `core.policy`'s. A merchant without a stage costs nothing here. What counts are
the invoices themselves, so that nothing can drift: one that was refused or failed to open was never counted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.context import Bridge, Merchant
from bridge.core.errors import Refused
from bridge.core.money import minor_text
from bridge.core.policy import Stage, Used
from bridge.store import invoices
from bridge.store.db import Tx, queue_up

CODE = "stage_limit_reached"


@dataclass(frozen=True, kw_only=True)
class StageUse:
    """One merchant's stage and what is used of its day."""

    merchant: str
    stage: Stage
    used: Used

    @property
    def is_used_up(self) -> bool:
        return self.stage.is_used_up(self.used)

    def text(self) -> str:
        """Both limits in words for people who run the bridge."""
        parts = [f"stage {self.stage.name}"]
        if self.stage.invoices_per_day is not None:
            parts.append(f"{self.used.invoices} of {self.stage.invoices_per_day} invoices")
        for currency, limit in sorted(self.stage.minor_per_day.items()):
            used = minor_text(self.used.minor.get(currency, 0), currency)
            parts.append(f"{used} of {minor_text(limit, currency)} {currency}")
        return f"{', '.join(parts)} today ({self.stage.time_zone})"


def require_stage_room(
    tx: Tx, bridge: Bridge, merchant: Merchant, *, currency: str, minor: int, now: datetime, instead_of: str = ""
) -> None:
    """Raises Refused("stage_limit_reached") when one more invoice of so much goes beyond the merchant's day.

    `instead_of`: the invoice whose amount this would be from now on. Asked before the gateway is, so that it is not asked in
    vain, and in the transaction that writes the row, where it counts.
    """
    stage = merchant.stage
    if stage is None:
        return
    # Two that open at once are counted one after the other, each with its row or not at all.
    queue_up(tx, f"stage:{merchant.id}")
    used = _used(tx, merchant.id, stage, now=now, but=instead_of)
    _refuse(bridge, merchant, stage, used.with_one(currency, minor), currency, now=now)


def stage_uses(tx: Tx, bridge: Bridge, *, now: datetime) -> list[StageUse]:
    """Every merchant that has a stage."""
    staged = [(m.id, m.stage) for m in bridge.merchants.values() if m.stage is not None]
    return [StageUse(merchant=name, stage=stage, used=_used(tx, name, stage, now=now)) for name, stage in staged]


def _used(tx: Tx, merchant: str, stage: Stage, *, now: datetime, but: str = "") -> Used:
    begin, _ = stage.day_of(now)
    found = invoices.opened_since(tx, merchant=merchant, since=begin, but=but)
    return Used(
        invoices=sum(count for count, _ in found.values()), minor={code: sum_ for code, (_, sum_) in found.items()}
    )


def _refuse(bridge: Bridge, merchant: Merchant, stage: Stage, used: Used, currency: str, *, now: datetime) -> None:
    beyond = stage.exceeded(used, currency)
    if not beyond:
        return
    bridge.metrics.stage_refusals.labels(merchant=merchant.id, limit=beyond).inc()
    _, end = stage.day_of(now)
    again = (end - now + timedelta(seconds=1)).total_seconds() // 60 + 1
    detail = f"The {beyond} of today's stage {stage.name} are used up; the next day begins in {int(again)} minutes."
    raise Refused(CODE, detail, field="amount" if beyond == "amount" else None)
