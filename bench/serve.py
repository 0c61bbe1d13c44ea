"""Serves a yardstick or the bridge with the very same gunicorn settings. Run as `python -m bench.serve reference|bridge CONFIG`.

Owns the choice of the application; the settings of the server are the bridge's own.
"""

import sys

from bridge.cli.web_server import web_server
from bridge.config import load_settings
from bridge.logs import set_up


def main() -> None:
    what, config = sys.argv[1:]
    settings = load_settings(config)
    set_up("error")
    if what == "bridge":
        web_server(settings).run()
        return

    def build() -> object:
        from bench.yardstick import reference_app
        from bridge.store.db import open_store

        return reference_app(open_store(settings.database_url))

    web_server(settings, build=build).run()


if __name__ == "__main__":
    main()
