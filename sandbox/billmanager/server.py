"""Owns putting a core, its tree and a web server together. It must not start anything at import."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Flask

from sandbox.billmanager import admin_pages, api, client_pages, control, modules, pages
from sandbox.billmanager.core import Core
from sandbox.billmanager.functions import FUNCTIONS
from sandbox.billmanager.tree import build_tree, write_address
from sandbox.billmanager.world import World
from sandbox.serving import WsgiServer

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE_TREE = REPOSITORY / "plugin_stub"


def make_core(
    base: Path | str, *, module_trees: Sequence[Path | str] = (MODULE_TREE,), state: Path | None = None
) -> Core:
    """Build the tree in `base` and a core over it; nothing is listening yet."""
    root = build_tree(Path(base), [Path(tree) for tree in module_trees])
    return Core(base=root, world=World(path=state), functions=FUNCTIONS)


def create_app(core: Core | None = None, *, base: Path | str | None = None, **options: Any) -> Flask:
    """The web application of a core, or of a fresh one made from `base` and make_core's options."""
    if core is None:
        if base is None:
            raise ValueError("give a core or a base directory")
        core = make_core(base, **options)
    app = Flask(__name__)
    app.extensions["core"] = core
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for part in (api, control, pages, client_pages, admin_pages):
        app.register_blueprint(part.blueprint)
    return app


class Running:
    """A sandbox that is listening: `.url`, `.core`, `.world`, `.base`, `.stop()`."""

    def __init__(self, core: Core, server: WsgiServer, *, tick_seconds: float) -> None:
        self.core, self.world, self.base = core, core.world, core.base
        self.url = core.public_url
        self._server = server
        self._ended = threading.Event()
        self._ticking = threading.Thread(target=self._tick, args=(tick_seconds,), daemon=True)
        server.start()
        if tick_seconds > 0:
            self._ticking.start()

    def _tick(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            if self.core.knobs.checkpay_overlap:
                threading.Thread(target=modules.checkpay, args=(self.core,), daemon=True).start()
            else:
                modules.checkpay(self.core)

    def stop(self) -> None:
        """Stop ticking and listening; the tree stays."""
        self._ended.set()
        if self._ticking.is_alive():
            self._ticking.join(timeout=10)
        self._server.close()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve_in_thread(
    base: Path | str,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    tick_seconds: float = 0,
    public_url: str = "",
    manager_url: str = "",
    **options: Any,
) -> Running:
    """Serve on loopback in a background thread; `tick_seconds` 0 means checkpay runs only on demand."""
    core = make_core(base, **options)
    server = WsgiServer(host, port, create_app(core))
    core.public_url = public_url or f"http://{host}:{server.server_port}"
    core.manager_url = manager_url
    write_address(core.base, port=server.server_port, token=core.token)
    return Running(core, server, tick_seconds=tick_seconds)
