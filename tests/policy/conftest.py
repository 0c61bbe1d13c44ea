"""Fixtures of the policy tests: nodes over one database, each with a settings file of its own, and the people.

Owns names and short words; must not copy a rule of the bridge.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from bridge.context import Bridge
from bridge.people.policy import take_file
from bridge.runtime import build
from bridge.store import operators
from tests.fakes import SettableClock
from tests.flows.world import settings_for

STAFF = {"root": "admin", "fay": "finance", "ann": "approver", "bob": "approver", "vic": "viewer"}
TWO_EYES = {"policy_changes": {"approvals": 1}}
Nodes = Callable[..., Bridge]


def risk_of(bridge: Bridge) -> int:
    """The price buffer that a new invoice of merchant shop would get."""
    return bridge.merchants["shop"].policy.rule_for(None).risk_bps


def risk(bps: int) -> dict[str, Any]:
    """A settings file whose policy asks for this price buffer and for one more person."""
    return TWO_EYES | {"policy": {"default": {"risk_bps": bps}}}


def hire(bridge: Bridge, staff: dict[str, str]) -> None:
    with bridge.store.write() as tx:
        for name, role in staff.items():
            row = {"name": name, "role": role, "is_active": True, "password_hash": "", "totp_nonce": ""}
            operators.add(tx, row | {"created_at": bridge.clock(), "created_by": "setup"})


@pytest.fixture
def nodes(database_url: str) -> Iterator[Nodes]:
    """Starts a program over the test's database with a file of its own, as `serve` and `worker` do."""
    clock = SettableClock()
    with ExitStack() as stack:

        def start(*, takes: bool = True, **file: Any) -> Bridge:
            clock.advance(1)
            bridge = replace(build(settings_for("http://127.0.0.1:1", database_url, **file)), clock=clock)
            stack.callback(bridge.store.close)
            return take_file(bridge) if takes else bridge

        yield start


@pytest.fixture
def node(nodes: Nodes) -> Bridge:
    """The first start of a bridge that wants one more person for a change, with its staff."""
    bridge = nodes(**risk(100))
    hire(bridge, STAFF)
    return bridge
