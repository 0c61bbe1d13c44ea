"""Owns the command line of the billing sandbox. It must not do more than parse and wait."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from sandbox.billmanager.server import MODULE_TREE, serve_in_thread


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.billmanager", description="A sandbox BILLmanager.")
    parser.add_argument("--port", type=int, default=1500)
    parser.add_argument("--base", type=Path, required=True, help="directory for the throwaway mgr5 tree")
    parser.add_argument("--module-tree", type=Path, action="append", help="tree to install; may be given again")
    parser.add_argument("--tick-seconds", type=float, default=180.0, help="period of checkpay; 0 for never")
    parser.add_argument("--state", type=Path, help="JSON file that keeps the records over restarts")
    parser.add_argument("--public-url", default="", help="address clients see, when it is behind a proxy")
    options = parser.parse_args()
    running = serve_in_thread(
        options.base,
        port=options.port,
        module_trees=options.module_tree or [MODULE_TREE],
        tick_seconds=options.tick_seconds,
        state=options.state,
        public_url=options.public_url,
    )
    print(
        f"billmanager sandbox: {running.url}/ (demo:demo, admin:admin), base {running.base}",
        flush=True,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    running.stop()


if __name__ == "__main__":
    main()
