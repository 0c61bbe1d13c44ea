"""gunicorn with the bridge's settings.

Owns the server's options; must not know the application but by its builder.
"""

from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from bridge.config import Settings
from bridge.wsgi import application


def web_server(settings: Settings, *, build: Callable[[], Any] | None = None) -> BaseApplication:
    """A server with the settings' numbers. Each worker process builds its own application after the fork."""
    options = {
        "bind": settings.listen,
        "workers": settings.web_processes,
        "threads": settings.web_threads,
        "worker_class": "gthread",
        "keepalive": 30,
        "graceful_timeout": 30,
        # Its control socket would be opened in somebody's home, which a hardened unit does not have.
        "control_socket_disable": True,
        "loglevel": settings.log_level,
        "worker_exit": _close,
    }

    class WebServer(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return build() if build else application(settings)

    return WebServer()


def _close(_server: Any, gone: Any) -> None:
    """A pool left open at exit would complain about threads that cannot be joined any more."""
    web = gone.app.callable.extensions.get("bridge")
    if web is not None:
        web.bridge.store.close()
