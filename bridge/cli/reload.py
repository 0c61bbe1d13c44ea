"""serve and worker that take new settings on SIGHUP and refuse a bad file.

Owns the reload; what runs in between is `bridge.cli.run`'s.
"""

import logging
import signal
import threading
from functools import partial
from typing import Any

import click

from bridge.cli.opened import settings_of
from bridge.cli.settings_text import compared
from bridge.cli.worker_metrics import serving_metrics
from bridge.config import ConfigError, Settings, load_settings
from bridge.logs import log, set_up
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
    server: Any = web_server(current.settings, build=lambda: application(current.settings, config=ctx.obj))
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
