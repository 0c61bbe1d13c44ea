"""A bridge and a panel per test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.plugin_stub.fake_bridge import FakeBridge
from tests.plugin_stub.panel import SECRET, Panel, Response, lay_out


class Push(Protocol):
    """Deliver an event to subtcresult as the bridge would; keyword arguments forge it."""

    def __call__(self, event: dict[str, Any], *, secret: str = SECRET, **variables: str) -> Response: ...


@pytest.fixture
def bridge() -> Iterator[FakeBridge]:
    running = FakeBridge()
    yield running
    running.close()


@pytest.fixture(scope="session")
def panel_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = tmp_path_factory.mktemp("panel")
    lay_out(files)
    return files


@pytest.fixture
def panel(tmp_path: Path, bridge: FakeBridge, panel_files: Path) -> Panel:
    return Panel(tmp_path / "mgr5", bridge.url, panel_files)


@pytest.fixture
def push(panel: Panel, bridge: FakeBridge) -> Push:
    def send(event: dict[str, Any], *, secret: str = SECRET, **variables: str) -> Response:
        body = json.dumps(event).encode()
        signed = bridge.signed(body, secret=secret, event_id=event["id"])
        return panel.cgi("subtcresult", body=body, **{**signed, **variables})

    return send
