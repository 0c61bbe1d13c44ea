"""serve and worker: they take new settings on SIGHUP and refuse a bad file; and the worker's own /metrics.

Owns the reload and one small HTTP server of the standard library in a thread; must not answer anything else there, nor stop the worker.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import click

from bridge.books.keep_books import refresh_gauges
from bridge.cli.opened import settings_of
from bridge.cli.settings_text import compared
from bridge.config import ConfigError, Settings, load_settings
from bridge.context import Bridge
from bridge.logs import log, set_up
from bridge.metrics import METRICS_TYPE
from bridge.runtime import build, export_spans
from bridge.worker import Worker


class Current:
    """The settings in force. A file that cannot be used changes nothing and is named in the log."""

    def __init__(self, path: str, settings: Settings):
        self._path = path
        self.settings = settings

    def reload(self) -> None:
        """Takes the file's settings; what changed is logged by its path, never a secret's value."""
        try:
            new = load_settings(self._path)
        except ConfigError as refused:
            log("config.refused", level=logging.ERROR, faults=str(refused).splitlines())
            return
        log("config.reloaded", changes=compared(self.settings, new))
        self.settings = new
        set_up(new.log_level)


@click.command()
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Serve the API, the callbacks and the pay pages. SIGHUP takes new settings; listen and the counts need a restart."""
    from bridge.cli.web_server import web_server
    from bridge.wsgi import application, take_policy

    current = Current(ctx.obj, settings_of(ctx))
    set_up(current.settings.log_level)
    take_policy(current.settings)
    server: Any = web_server(
        current.settings,
        build=lambda: application(current.settings, config=ctx.obj),
        # It sends in a thread of its own, which no process takes along.
        begin=lambda: export_spans(current.settings),
    )
    first_load = server.load_config

    def load_config() -> None:
        # gunicorn calls this once more at every SIGHUP and then replaces its worker processes one by one.
        current.reload()
        take_policy(current.settings)
        first_load()

    server.load_config = load_config
    server.run()


@click.command()
@click.pass_context
def worker(ctx: click.Context) -> None:
    """Look at addresses and tell merchants, until told to stop. SIGHUP takes new settings between two looks."""
    current = Current(ctx.obj, settings_of(ctx))
    set_up(current.settings.log_level)
    export_spans(current.settings)
    signals = _Signals()
    while not signals.ended.is_set():
        signals.asked.clear()
        bridge = build(current.settings)
        # Not yet under any policy: the worker takes the file when it begins.
        try:
            running = Worker(bridge, threads=current.settings.worker_threads)
            with serving_metrics(bridge, current.settings.worker_listen, current=lambda: running.bridge):  # noqa: B023
                signals.run(running)
        finally:
            bridge.close()
        if not signals.ended.is_set():
            current.reload()


class _Signals:
    """Stops whichever worker runs. A signal that comes between two of them is kept: neither an end nor a reload is lost."""

    def __init__(self) -> None:
        self.ended, self.asked = threading.Event(), threading.Event()
        self._running: Worker | None = None
        for signum, heard in ((signal.SIGTERM, self.ended), (signal.SIGINT, self.ended), (signal.SIGHUP, self.asked)):
            signal.signal(signum, partial(self._stop, heard))

    def run(self, worker: Worker) -> None:
        self._running = worker
        if self.ended.is_set() or self.asked.is_set():
            worker.stop()
        worker.run()

    def _stop(self, heard: threading.Event, _signum: int, _frame: object) -> None:
        heard.set()
        if self._running is not None:
            self._running.stop()


COMMANDS = (serve, worker)


# A scraper that opens a connection and says nothing must not keep a thread.
PATIENCE_SECONDS = 10


@contextmanager
def serving_metrics(bridge: Bridge, listen: str, *, current: Callable[[], Bridge] | None = None) -> Iterator[int]:
    """Serves until the end of the block and yields the port; 0 when `listen` is empty or the port is taken by another worker.

    `current` gives the bridge under the policy in force, whose limits are gauges too.
    """
    server = _server(current or (lambda: bridge), listen) if listen else None
    if server is None:
        yield 0
        return
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    log("metrics.serving", listen=f"{server.server_address[0]!s}:{server.server_address[1]}")
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _server(current: Callable[[], Bridge], listen: str) -> ThreadingHTTPServer | None:
    host, _, port = listen.rpartition(":")

    def text() -> bytes:
        bridge = current()
        refresh_gauges(bridge)
        return bridge.metrics.text()

    try:
        return ThreadingHTTPServer((host.strip("[]"), int(port)), _answering(text))
    except OSError as error:
        log("metrics.not_served", level=logging.WARNING, listen=listen, error=error.strerror)
        return None


def _answering(text: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        timeout = PATIENCE_SECONDS

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            try:
                body = text()
            except Exception:
                log("metrics.failed", level=logging.ERROR, exc_info=True)
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", METRICS_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A scrape is no news."""

    return Answers
