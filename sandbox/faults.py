"""Scripted faults: which call goes wrong, how, and how many times.

Must not carry a fault out; the wire, the callback sender and the sources do, when they have taken one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WIRE = frozenset(
    {
        "error_500_before",
        "error_500_after",
        "cut_before",
        "cut_midway",
        "lost_response",
        "truncated_json",
        "not_json",
        "slow_drip",
        "latency",
        "redirect",
        "rate_limited",
        "down",
    }
)
GATEWAY = WIRE | {
    "error",
    "node_unavailable",
    "send_failed_but_sent",
    "no_result",
    "string_numbers",
    "float_numbers",
    "reached_with_too_little",
    "wrong_address",
    "repeated_address",
    "main_address",
    "set_member",
    "drop_member",
}
CALLBACK = frozenset({"drop", "delay", "duplicate", "wrong_address", "too_little", "not_json"})
LIGHTNING = WIRE | {
    "error",
    "wrong_amount",
    "no_amount",
    "wrong_network",
    "other_hash",
    "expires_late",
    "credits_other",
    "forgets",
    "unfiltered",
    "no_details",
    "not_loaded",
    "paid_without_status",
    "set_member",
    "drop_member",
}
PRICE = WIRE | {"stale", "wild", "slow", "missing"}
ESPLORA = WIRE | {"slow", "blind", "lag", "reindexing", "forgets", "lacks", "doubled", "remembers"}


@dataclass(kw_only=True)
class Fault:
    """One scripted fault. `times` None means until cleared; the first `skip` matching calls go well."""

    mode: str
    kind: str
    times: int | None = None
    skip: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    fired: int = 0

    def seconds(self, fallback: float) -> float:
        """The fault's `seconds` parameter."""
        return float(self.params.get("seconds", fallback))


def family(mode: str) -> frozenset[str]:
    """The kinds that make sense for `mode`: a gateway mode, `health`, `*`, `callback`, `esplora`, `esplora2`,
    `price:<source>`, `ln_create`, `ln_list`, `ln_read`, `ln_send`, `ln_wallet`, `ln_webhook`.
    """
    if mode.startswith("price:"):
        return PRICE
    if mode.startswith("ln_") and mode != "ln_webhook":
        return LIGHTNING
    return {"callback": CALLBACK, "ln_webhook": CALLBACK, "esplora": ESPLORA, "esplora2": ESPLORA}.get(mode, GATEWAY)


class FaultTable:
    """The faults in force, in the order they were set. Callers hold the world's lock."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, request: dict[str, Any]) -> Fault:
        """Script a fault from its JSON form; other members become its parameters. Raises ValueError."""
        params = dict(request)
        source = params.pop("source", None)
        mode = params.pop("mode", f"price:{source}" if source else "*")
        kind, times, skip = params.pop("kind", None), params.pop("times", None), params.pop("skip", 0)
        if not isinstance(mode, str) or kind not in family(mode):
            raise ValueError(f"no fault {kind!r} for {mode!r}; known: {', '.join(sorted(family(str(mode))))}")
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError("times is a whole number from 1, or absent")
        if type(skip) is not int or skip < 0:
            raise ValueError("skip is a whole number from 0")
        fault = Fault(mode=mode, kind=kind, times=times, skip=skip, params=params)
        self.faults.append(fault)
        return fault

    def take(self, mode: str) -> list[Fault]:
        """The faults this call suffers; each loses one of its times."""
        if not self.faults:
            return []
        hit = []
        for fault in [fault for fault in self.faults if _matches(fault.mode, mode)]:
            if fault.skip:
                fault.skip -= 1
                continue
            fault.fired += 1
            hit.append(fault)
            if fault.times is not None and fault.fired >= fault.times:
                self.faults.remove(fault)
        return hit

    def clear(self) -> None:
        """All calls go well again."""
        self.faults.clear()

    def as_list(self) -> list[dict[str, Any]]:
        """The faults still in force, as JSON."""
        return [
            {"mode": f.mode, "kind": f.kind, "times": f.times, "skip": f.skip, "fired": f.fired, **f.params}
            for f in self.faults
        ]


def _matches(pattern: str, mode: str) -> bool:
    """`*` is every gateway call; `price:*` every price source, `ln_*` every call to the Lightning server."""
    if pattern == "*":
        return mode not in ("callback", "esplora", "esplora2") and not mode.startswith(("price:", "ln_"))
    if pattern in ("price:*", "ln_*"):
        return mode.startswith(pattern[:-1]) and mode != "ln_webhook"
    return pattern == mode
