"""The ways to be paid, a file or package each: from settings to rails. None knows another; nothing outside names one.

Owns the finding of them: each is called as its section of the settings, so that a new one is its file and that section.
"""

from importlib import import_module

from bridge.config import FIRST_SECTIONS, RAIL_SECTIONS, Settings
from bridge.core.rail import Rail


def rails_of(settings: Settings) -> tuple[Rail, ...]:
    """Every rail that the settings name: first the one that new invoices are paid over, then those
    beside it, then what only sends or is followed.
    """
    # What is only ever beside the first way is not even imported where the settings do not have it.
    named = [name for name in RAIL_SECTIONS if name in FIRST_SECTIONS or getattr(settings, name) is not None]
    found = [rail for name in named for rail in import_module(f"{__name__}.{name}").rails(settings)]
    return tuple(sorted(found, key=lambda rail: (not rail.is_offered, rail.is_beside)))
