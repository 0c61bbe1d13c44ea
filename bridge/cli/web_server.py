"""gunicorn with the bridge's settings, its lines in the bridge's own form.

Owns the server's options and its log; must not know the application but by its builder.
"""

import gc
import logging
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from bridge import tracing
from bridge.config import Settings
from bridge.logs import JsonLines, log
from bridge.web.around import ROUTE_KEY
from bridge.wsgi import application

ACCEPT_PAUSE_SECONDS = 0.0005


class JsonLog(Logger):  # type: ignore[misc]
    """gunicorn's own lines and one line per request, as JSON. A request is told by its route: addresses hold tokens."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        writer = logging.StreamHandler(sys.stderr)
        writer.setFormatter(JsonLines())
        self.error_log.handlers[:] = [writer]

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """The last thing done for a request: what the next one does before it has a trace is not this one's."""
        status = str(resp.status).partition(" ")[0]
        milliseconds = request_time // timedelta(milliseconds=1)
        route = environ.get(ROUTE_KEY, "unknown")
        log("http.request", method=req.method, route=route, status=int(status), milliseconds=milliseconds)
        tracing.follow("")


class FairWorker(ThreadWorker):  # type: ignore[misc]
    """A process that has just taken a connection lets the others take the next one.

    Else the one that wakes first takes all that come at once; kept alive, they stay there, and the other cores have nothing to do.
    """

    def accept(self, listener: Any) -> None:
        super().accept(listener)
        if self.cfg.workers > 1:
            time.sleep(ACCEPT_PAUSE_SECONDS)


def web_server(
    settings: Settings, *, build: Callable[[], Any] | None = None, begin: Callable[[], None] | None = None
) -> BaseApplication:
    """A server with the settings' numbers. `begin` is called in each of its processes, before it serves.

    The application is built before they part, and anew for each SIGHUP: what they do not change they share. So building must neither
    connect nor start anything.
    """
    options = {
        "bind": settings.listen,
        "workers": settings.web_processes,
        "threads": settings.web_threads,
        "worker_class": FairWorker,
        "preload_app": True,
        "keepalive": 30,
        "graceful_timeout": 30,
        # Its control socket would be opened in somebody's home, which a hardened unit does not have.
        "control_socket_disable": True,
        "loglevel": settings.log_level,
        "logger_class": JsonLog,
        "when_ready": _settle_down,
        "on_reload": _settle_anew,
        "post_fork": lambda _server, _worker: begin() if begin else None,
        "post_worker_init": _settle_down,
        "worker_exit": _close,
    }

    class WebServer(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in options.items():
                self.cfg.set(name, value)
            self.callable = None

        def load(self) -> Any:
            return build() if build else application(settings)

    return WebServer()


def _settle_down(_worker: Any) -> None:
    """The program itself is no garbage: looking it through for some takes a tenth of a second, and every request waits."""
    gc.collect()
    gc.freeze()


def _settle_anew(server: Any) -> None:
    """The same before the next processes part; the application before was the program too until now."""
    gc.unfreeze()
    _settle_down(server)


def _close(_server: Any, gone: Any) -> None:
    """A pool left open at exit would complain about threads that cannot be joined any more."""
    web = gone.app.callable.extensions.get("bridge")
    if web is not None:
        web.bridge.close()
