"""A first installation made by `init` against the sandbox, as an operator would make it.

Owns the directory, the sandbox and the running of commands; must not know what a command does.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from click.testing import CliRunner, Result

from bridge.cli.group import main
from sandbox.bitcoin import Served, serve_in_thread
from sandbox.serving import HttpServer
from tests.flows.world import KEY, POINTERS


@dataclass(kw_only=True)
class Place:
    """One installation. `told` are the bodies that the billing system's endpoint received."""

    directory: Path
    sandbox: Served
    notify_url: str
    told: list[bytes] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.directory / "config.yaml"

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["--config", str(self.config), *arguments])

    def init(self, *more: str) -> Result:
        key_file = self.directory.parent / "subtc-key"
        key_file.write_text(KEY)
        flags = {
            "--directory": str(self.directory),
            "--public-url": "https://pay.example.com",
            "--notify-url": self.notify_url,
            "--subtc-url": self.sandbox.url,
            "--subtc-key-file": str(key_file),
            "--esplora": f"{self.sandbox.url}/esplora",
            "--listen": "127.0.0.1:0",
        }
        arguments = [word for pair in flags.items() for word in pair]
        for name, pointer in POINTERS.items():
            arguments += ["--price", f"{name},{self.sandbox.url}/prices/{name}?currency={{currency}},{pointer}"]
        return CliRunner().invoke(main, ["init", *arguments, *more])

    def copy(self, name: str) -> Path:
        """A second directory with the same files, for a machine of its own."""
        target = self.directory.parent / name
        shutil.copytree(self.directory, target)
        return target


@contextmanager
def new_place(tmp_path: Path) -> Iterator[Place]:
    told: list[bytes] = []

    class Billing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HttpServer(("127.0.0.1", 0), Billing) as server:
        sandbox = serve_in_thread(net="test", api_key=KEY)
        url = f"http://127.0.0.1:{server.server_port}/mancgi/subtcresult"
        try:
            yield Place(directory=tmp_path / "bridge", sandbox=sandbox, notify_url=url, told=told)
        finally:
            sandbox.stop()
