"""A real Bitcoin node on regtest: starting and stopping one, and its JSON-RPC.

Must not know the simulated chain or the gateway. Nothing here is for real money: the node is private, on loopback, without
peers but those a test gives it.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

START_SECONDS, STOP_SECONDS = 60, 60
SAT_PER_BTC = 100_000_000
OPTIONS = (
    "-regtest",
    "-server=1",
    "-rpcbind=127.0.0.1",
    "-rpcallowip=127.0.0.1/32",
    "-dnsseed=0",
    "-fixedseeds=0",
    "-discover=0",
    "-natpmp=0",
    "-listenonion=0",
    "-fallbackfee=0.0002",
    "-txindex=1",
    "-addresstype=bech32",
    "-mempoolfullrbf=1",
    "-printtoconsole=0",
)


class NodeError(Exception):
    """The node refused a call; `code` is its own."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code = code


class NodeRpc:
    """One node at http://user:password@host:port. Amounts come as Decimal bitcoin and are sent as text."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError("the node's URL must be http://user:password@host:port")
        self.host, self.port = parts.hostname, parts.port
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        self._login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def __call__(self, method: str, *arguments: Any, wallet: str | None = None) -> Any:
        """The result; raises NodeError, or OSError when nobody answers."""
        path = f"/wallet/{wallet}" if wallet else "/"
        body = json.dumps({"id": 1, "method": method, "params": list(arguments)})
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request("POST", path, body, {"Authorization": f"Basic {self._login}"})
            answer = json.loads(connection.getresponse().read(), parse_float=Decimal)
        finally:
            connection.close()
        if answer.get("error"):
            raise NodeError(method, int(answer["error"]["code"]), str(answer["error"]["message"]))
        return answer["result"]


@dataclass(kw_only=True)
class NodeProgram:
    """A running node; `directory` holds its data and its log."""

    directory: Path
    program: subprocess.Popen[bytes]
    url: str
    peer_port: int
    rpc: NodeRpc = field(init=False)

    def __post_init__(self) -> None:
        self.rpc = NodeRpc(self.url)

    @property
    def peer(self) -> str:
        """Where other nodes reach it."""
        return f"127.0.0.1:{self.peer_port}"

    def stop(self) -> None:
        """Ends the node in good order; a second call does nothing."""
        if self.program.poll() is None:
            try:
                self.rpc("stop")
            except (OSError, NodeError):
                self.program.terminate()
        try:
            self.program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.program.kill()
            self.program.wait()


def start_node(bitcoind: Path, directory: Path, *options: str) -> NodeProgram:
    """Starts a node with free ports and waits until it answers; `options` come after ours and so override them.

    Raises RuntimeError with the end of its log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rpc_port, peer_port = _free_ports(2)
    user, password = "sandbox", secrets.token_hex(16)
    ports = (f"-rpcport={rpc_port}", f"-bind=127.0.0.1:{peer_port}", f"-rpcuser={user}", f"-rpcpassword={password}")
    # Its output goes to a file: it would else keep the starter's own output open for ever.
    with (directory / "node.log").open("wb") as log_file:
        program = subprocess.Popen(
            [str(bitcoind), *OPTIONS, *ports, f"-datadir={directory}", *options],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
        )
    url = f"http://{user}:{password}@127.0.0.1:{rpc_port}"
    node = NodeProgram(directory=directory, program=program, url=url, peer_port=peer_port)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and program.poll() is None:
        try:
            node.rpc("getblockcount")
        except (OSError, NodeError, ValueError):
            time.sleep(0.05)
        else:
            return node
    node.stop()
    raise RuntimeError("the node did not start: " + (directory / "node.log").read_text(errors="replace")[-500:])


def sat_of(value: Decimal | int) -> int:
    """Decimal bitcoin as the node gives it, in satoshi."""
    return int(value * SAT_PER_BTC)


def btc_text(sat: int) -> str:
    """Satoshi as the decimal text that the node takes."""
    return f"{sat // SAT_PER_BTC}.{sat % SAT_PER_BTC:08d}"


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
