"""Real Electrum daemons and their server on the tests' own node: starting, asking and stopping them.

Owns the programs and the way to a channel; must not know the bridge.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from sandbox.node import NodeProgram
from tests.durability.programs import free_port

START_SECONDS = 90
CHANNEL_BTC = "0.01"


class ElectrumError(Exception):
    """The daemon refused a call, in its own words."""


@dataclass(kw_only=True)
class Daemon:
    """One Electrum daemon with one wallet, on loopback."""

    folder: Path
    program: subprocess.Popen[bytes]
    rpc_port: int
    peer_port: int
    user: str
    password: str
    wallet: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    def __call__(self, method: str, **named: Any) -> Any:
        """The result; raises ElectrumError, or OSError when nobody answers."""
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        body = json.dumps({"id": 1, "method": method, "params": named})
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=120)
        try:
            connection.request("POST", "/", body, {"Authorization": f"Basic {login}"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if error := answer.get("error"):
            raise ElectrumError(f"{method}: {error.get('message')} {error.get('data', {}).get('exception', '')}")
        return answer["result"]

    @property
    def peer(self) -> str:
        """How another one reaches it."""
        return f"{self('nodeid').partition('@')[0]}@127.0.0.1:{self.peer_port}"

    def stop(self) -> None:
        if self.program.poll() is None:
            try:
                self("stop")
            except (OSError, ElectrumError, ValueError):
                self.program.terminate()
        end(self.program)


def end(program: subprocess.Popen[bytes]) -> None:
    """Waits until it is gone, at last by force."""
    try:
        program.wait(20)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def start_server(place: Path, folder: Path, node: NodeProgram) -> tuple[subprocess.Popen[bytes], str]:
    """The server, and where Electrum finds it."""
    port = free_port()
    settings = {
        "COIN": "Bitcoin",
        "NET": "regtest",
        "DB_DIRECTORY": str(folder),
        "DB_ENGINE": "leveldb",
        "DAEMON_URL": node.url + "/",
        "SERVICES": f"tcp://127.0.0.1:{port}",
        "PEER_DISCOVERY": "off",
        "ALLOW_ROOT": "1",
        # It slows down who asks often, and a test does.
        "COST_SOFT_LIMIT": "0",
        "COST_HARD_LIMIT": "0",
    }
    starter = str(Path(__file__).with_name("e_x.py"))
    program = launch([str(place / "electrum-python"), starter], folder, **settings)
    # Electrum that finds nobody there tries again only after ten seconds.
    until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None, program)
    return program, f"127.0.0.1:{port}:t"


def start_daemon(place: Path, folder: Path, server: str) -> Daemon:
    """A daemon with a new wallet, connected to the server. Raises RuntimeError when it does not come up."""
    home = folder / "regtest"
    (home / "wallets").mkdir(parents=True)
    rpc_port, peer_port, password = free_port(), free_port(), secrets.token_hex(16)
    settings = {
        "rpcuser": "tests",
        "rpcpassword": password,
        "rpchost": "127.0.0.1",
        "rpcport": rpc_port,
        "rpcsock": "tcp",
        "lightning_listen": f"127.0.0.1:{peer_port}",
        # Else it wants one of the public trampolines, which do not know this chain.
        "use_gossip": True,
        "check_updates": False,
    }
    (home / "config").write_text(json.dumps(settings))
    command = [str(place / "electrum"), "--regtest", "-D", str(folder), "daemon", "-1", "-s", server]
    daemon = Daemon(
        folder=folder,
        program=launch(command, folder),
        rpc_port=rpc_port,
        peer_port=peer_port,
        user="tests",
        password=password,
        wallet=str(home / "wallets" / "shop"),
    )
    try:
        wait_for(daemon)
        daemon("create", wallet_path=daemon.wallet)
        daemon("load_wallet", wallet_path=daemon.wallet)
    except BaseException:
        daemon.stop()
        raise
    return daemon


def restart(daemon: Daemon) -> None:
    """Ends it and starts it again; its wallet is not loaded then."""
    command = [os.fsdecode(each) for each in daemon.program.args]
    daemon.stop()
    daemon.program = launch(command, daemon.folder)
    wait_for(daemon)


def launch(command: list[str], folder: Path, **settings: str) -> subprocess.Popen[bytes]:
    # Its output goes to a file: it would else keep the test's own output open for ever.
    with (folder / "program.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def wait_for(daemon: Daemon) -> None:
    until(lambda: daemon("getinfo")["connected"], daemon.program)


def until(holds: Callable[[], Any], *programs: subprocess.Popen[bytes], seconds: float = START_SECONDS) -> Any:
    """What `holds` gives once it is true; whoever does not answer yet is asked again."""
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        for program in programs:
            if program.poll() is not None:
                raise RuntimeError(f"a program ended with {program.returncode}")
        try:
            if found := holds():
                return found
        except (OSError, ElectrumError, http.client.HTTPException, ValueError) as error:
            last = str(error)
        time.sleep(0.1)
    raise RuntimeError(f"not within {seconds} s: {last}")


def fund(node: NodeProgram, daemon: Daemon, btc: str = "0.1") -> None:
    """Confirmed bitcoin for the daemon, from the node's own wallet."""
    address = daemon("getunusedaddress")
    node.rpc("sendtoaddress", address, btc, wallet="miner")
    mine(node, 1)
    until(lambda: Decimal(daemon("getbalance")["confirmed"]) > 0)


def mine(node: NodeProgram, blocks: int) -> None:
    node.rpc("generatetoaddress", blocks, node.rpc("getnewaddress", wallet="miner"))


def open_channel(node: NodeProgram, payer: Daemon, shop: Daemon) -> None:
    """A channel with all its money on the payer's side, six blocks deep and open for both."""
    payer("add_peer", connection_string=shop.peer)
    payer("open_channel", connection_string=shop.peer, amount=CHANNEL_BTC)
    mine(node, 6)
    until(lambda: is_open(payer) and is_open(shop), payer.program, shop.program)


def is_open(daemon: Daemon) -> bool:
    """Whether its one channel can carry payments now."""
    return [(each["state"], each["peer_state"]) for each in daemon("list_channels")] == [("OPEN", "GOOD")]
