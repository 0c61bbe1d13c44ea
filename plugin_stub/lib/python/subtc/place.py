"""Where things lie on the billing host, and the few switches an administrator may set there.

Owns the base directory and etc/subtc.conf; must not read settings of a payment method, which come with the payment.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from subtc import conf

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def base() -> Path:
    """The root of the panel. Only a sandbox sets MGR5_BASE."""
    return Path(conf.root())


def state_dir() -> Path:
    """Where the module keeps positions, records and locks; survives upgrade and uninstall."""
    return base() / "var" / "subtc"


class Switches(NamedTuple):
    """What etc/subtc.conf may change. The defaults are what a host without the file gets.

    `tier_field` and `country_field` name elements of a payment that hold them: where BILLmanager keeps a client's group
    or country differs, and is never guessed.
    """

    refund: bool = False
    item_names: bool = True
    notes: bool = True
    tier_field: str = ""
    country_field: str = ""
    mgrctl_timeout_seconds: int = 30
    bridge_timeout_seconds: int = 10
    lock_wait_seconds: int = 20


def switches() -> Switches:
    """Read `name = value` lines; unknown names and bad values leave the default, so a typo never stops billing."""
    found = conf.found()
    return Switches(
        refund=conf.is_refunding(found),
        item_names=found.get("item_names") != "off",
        notes=found.get("notes") != "off",
        tier_field=_field(found, "tier_field"),
        country_field=_field(found, "country_field"),
        mgrctl_timeout_seconds=_seconds(found, "mgrctl_timeout_seconds", 30),
        bridge_timeout_seconds=_seconds(found, "bridge_timeout_seconds", 10),
        lock_wait_seconds=_seconds(found, "lock_wait_seconds", 20),
    )


def _field(found: dict[str, str], name: str) -> str:
    text = found.get(name, "")
    return text if _FIELD.fullmatch(text) else ""


def _seconds(found: dict[str, str], name: str, default: int) -> int:
    text = found.get(name, "")
    return int(text) if text.isdigit() and 1 <= int(text) <= 600 else default
