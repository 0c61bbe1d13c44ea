"""What a test may turn: the settings of the simulated services, each with its default and its allowed values.

Must not act on anything; the services read the knobs on every call. Where the SUBTC contract marks a behaviour as
unknown, the default here is the contract's EMU column and is our own choice, not a fact about the real gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Check = Callable[[object], bool]


@dataclass(kw_only=True)
class Knobs:
    """The gateway's switches (SUBTC contract 10 and 12) and whose pages the chain views have; prices and faults live
    elsewhere.
    """

    status: str = "mapped"
    gateway_version: str = "4.2"
    min_conf: int = 0
    fee_bps: int = 300
    fee_rounding: str = "floor"
    fee_model: str = "from_amount"
    min_send_sat: int = 50_000
    feerate: int | None = None
    health_form: str = "superset"
    health_overrides: dict[str, Any] = field(default_factory=dict)
    receive: str = "fresh"
    destination_field: str = "either"
    remember_failures: bool = False
    require_idempotency: bool = False
    send_takes_s: float = 0.0
    wait_timeout_form: str = "timeout"
    wait_over_max: str = "clamp"
    callback_body: str = "flat"
    callback_tries: int = 3
    callback_backoff_s: list[float] = field(default_factory=lambda: [1.0, 5.0])
    latency_s: float = 0.0
    outage: str | None = None
    esplora_pages: str = "blockstream"
    # Of the Lightning server: the prefix that its invoices have (None: of the net), how often a payment rings, whether it is held
    # until somebody settles it, whether what has expired is still taken, how its own sends end and what their route costs. Of the
    # Electrum daemon: how many channels hold equal parts of its money.
    ln_prefix: str | None = None
    ln_rings: int = 2
    ln_hold: bool = False
    ln_late: str = "accept"
    ln_sends: str = "success"
    ln_fee_msat: int = 1_500
    ln_outage: str | None = None
    ln_channels: int = 1

    def turn(self, changes: dict[str, Any]) -> None:
        """Apply `changes`, all or none; raises ValueError naming the first knob that is unknown or out of range."""
        for name, value in changes.items():
            if name not in _CHECKS:
                raise ValueError(f"no such knob: {name}")
            if not _CHECKS[name](value):
                raise ValueError(f"knob {name} cannot be {value!r}")
        for name, value in changes.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """All knobs with their present values."""
        return asdict(self)


def _one_of(*allowed: object) -> Check:
    return lambda value: any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed)


def _whole(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 3600


def _seconds_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_seconds(item) for item in value)


_CHECKS: dict[str, Check] = {
    "status": _one_of("always200", "mapped"),
    "gateway_version": _one_of("4.2", "6.1"),
    "min_conf": _whole(0, 100),
    "fee_bps": _whole(0, 9_999),
    "fee_rounding": _one_of("floor", "ceil"),
    "fee_model": _one_of("from_amount", "on_top"),
    "min_send_sat": _whole(0, 10**15),
    "feerate": lambda value: value is None or _whole(1, 10_000)(value),
    "health_form": _one_of("superset", "flat", "result", "bare"),
    "health_overrides": lambda value: isinstance(value, dict),
    "receive": _one_of("fresh", "sticky"),
    "destination_field": _one_of("either", "to", "to_address"),
    "remember_failures": _one_of(True, False),
    "require_idempotency": _one_of(True, False),
    "send_takes_s": _seconds,
    "wait_timeout_form": _one_of("timeout", "error", "cut"),
    "wait_over_max": _one_of("clamp", "reject"),
    "callback_body": _one_of("flat", "envelope"),
    "callback_tries": _whole(1, 20),
    "callback_backoff_s": _seconds_list,
    "latency_s": _seconds,
    "outage": _one_of(None, "503", "cut", "hang"),
    "ln_prefix": _one_of(None, "bc", "tb", "tbs", "bcrt"),
    "ln_rings": _whole(0, 10),
    "ln_hold": _one_of(True, False),
    "ln_late": _one_of("accept", "refuse"),
    "ln_sends": _one_of("success", "pending", "failed"),
    "ln_fee_msat": _whole(0, 10**9),
    "ln_outage": _one_of(None, "503", "cut", "hang"),
    "ln_channels": _whole(1, 100),
    "esplora_pages": _one_of("blockstream", "mempool", "mempool_electrum"),
}
