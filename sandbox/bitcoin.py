"""The bitcoin side of the sandbox as one Flask app and one command: gateway, chain view, prices, control.

Must not be put on a public address: nothing here is real, and the control surface is open to whoever reaches it.

The gateway is modelled on public material about the SUBTC HTTP API (base path, modes, envelope, identifiers, the 3 %
service fee, cumulative `received_sat`). Our own choices, because nobody documents them: HTTP statuses, every error
code but SEND_FAILED, `wallet_list`, the end of a wait, the whole callback, idempotency beyond "same key, same
transaction", rounding, and that unconfirmed money reaches by default. Chain, Esplora view and prices are simulations.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from sandbox import control, electrum, esplora, gateway_http, lightning_http, prices, wallet_page
from sandbox.node import NodeRpc, start_node
from sandbox.record import Call
from sandbox.serving import WsgiServer
from sandbox.world import World


def create_app(**options: Any) -> Flask:
    """The app over a new World; `options` are World's. The world is at `app.extensions["world"]`. Starts no thread."""
    world = World(**options)
    app = Flask(__name__, static_folder=None)
    app.extensions["world"] = world
    for module in (gateway_http, lightning_http, electrum, prices, control, wallet_page):
        app.register_blueprint(module.blueprint(world))
    for server in esplora.SERVERS:
        app.register_blueprint(esplora.blueprint(world, server))

    @app.before_request
    def refresh() -> None:
        with world.lock:
            world.chain.refresh()

    @app.after_request
    def record(response: Response) -> Response:
        if not request.path.startswith(("/_control/", "/wallet")):
            headers = request.headers
            world.calls.append(
                Call(
                    at=world.clock.now(),
                    method=request.method,
                    path=request.path,
                    query=request.query_string.decode("utf-8", "replace"),
                    key=headers.get("X-SUBTC-KEY"),
                    idempotency_key=headers.get("X-SUBTC-IDEMPOTENCY"),
                    body=request.get_data(),
                    status=response.status_code,
                )
            )
        return response

    return app


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running sandbox in this process."""

    url: str
    world: World
    server: WsgiServer

    def stop(self) -> None:
        """Stop serving and end all waits; safe to call twice."""
        self.world.close()
        self.server.close()


def serve_in_thread(*, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Served:
    """Serve a new world from a thread of this process; port 0 takes a free one. `options` are World's."""
    app = create_app(**options)
    server = WsgiServer(host, port, app)
    server.now = app.extensions["world"].clock.now
    server.start()
    return Served(url=f"http://{host}:{server.server_port}", world=app.extensions["world"], server=server)


def main(arguments: list[str] | None = None) -> None:
    """Serve the simulated SUBTC gateway, chain and price sources until interrupted."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    host, port, url, programs = (options.pop(name) for name in ("host", "port", "node_url", "node"))
    with contextlib.ExitStack() as stack:
        if programs:
            # Ended by a signal, the node must be ended too.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="subtc-node-")))
            node = start_node(programs / "bitcoind", place)
            stack.callback(node.stop)
            url = node.url
        options["node"] = NodeRpc(url) if url else None
        _serve(parser, host, port, options)


def _serve(parser: argparse.ArgumentParser, host: str, port: int, options: dict[str, Any]) -> None:
    try:
        app = create_app(**options)
    except ValueError as error:
        parser.error(str(error))
    server = WsgiServer(host, port, app)
    server.now = app.extensions["world"].clock.now
    print(f"sandbox bitcoin on http://{host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    finally:
        app.extensions["world"].close()
        server.server_close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.bitcoin", description=main.__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, required=True, help="0 takes a free one and prints it")
    add("--net", choices=["test", "regtest", "main"], default="test")
    add("--allow-main", action="store_true", help="without it --net main is refused: real money could be burnt")
    add("--api-key", help="preset this API key")
    add("--wallet-id", help="preset this wallet under --api-key")
    add(
        "--lnbits", type=lambda text: tuple(text.split(":")), help="preset a Lightning wallet, ID:INVOICE_KEY:ADMIN_KEY"
    )
    add("--seed", type=int, help="the same addresses and ids on every start")
    add("--node", type=Path, metavar="DIR", help="real blocks: start the node that scripts/get_node.sh put into DIR")
    add("--node-url", metavar="URL", help="real blocks: a running regtest node, http://user:password@host:port")
    add("--callback-host", action="append", default=[], dest="callback_hosts", help="may get callbacks, like loopback")
    return parser


if __name__ == "__main__":
    main()
