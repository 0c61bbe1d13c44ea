"""Servers of tests that are closed are gone: a peer that stays is hung up on, one that was killed leaves nothing open."""

import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox.billmanager import serve_in_thread as serve_billmanager
from sandbox.bitcoin import serve_in_thread as serve_bitcoin
from sandbox.serving import WsgiServer
from tests.adapters.fake_chains import served as serve_chain
from tests.adapters.servers import RawServer, always, answer
from tests.durability.programs import wait_until_answering
from tests.durability.receiver import Receiver
from tests.durability.shop import SECRET
from tests.plugin_stub.fake_bridge import FakeBridge
from tests.sandbox_bitcoin.driver import Receiver as Doorbell

# What a peer has said when it is hung up on, or killed.
SAID = {
    "nothing": b"",
    "half a head": b"POST /x HTTP/1.1\r\nContent-Le",
    "half a body": b"POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
    "all of it": b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
}
# A stranger to the tests' own process, so that it can be killed.
PEER = """
import socket, sys
said = bytes.fromhex(sys.argv[2])
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(20)]
for each in held:
    each.sendall(said)
print("said", flush=True)
sys.stdin.read()
"""


@contextmanager
def _bitcoin(_place: Path) -> Iterator[str]:
    served = serve_bitcoin()
    try:
        yield served.url
    finally:
        served.stop()


@contextmanager
def _billmanager(place: Path) -> Iterator[str]:
    with serve_billmanager(place, module_trees=()) as running:
        yield running.url


@contextmanager
def _chain(_place: Path) -> Iterator[str]:
    with serve_chain(lambda *_: (200, b"{}")) as url:
        yield url


@contextmanager
def _raw(_place: Path) -> Iterator[str]:
    with RawServer(always(answer("ok"))) as server:
        yield server.url


@contextmanager
def _receiver(_place: Path) -> Iterator[str]:
    with closing(Receiver(SECRET)) as receiver:
        yield receiver.url


@contextmanager
def _fake_bridge(_place: Path) -> Iterator[str]:
    with closing(FakeBridge()) as bridge:
        yield bridge.url


@contextmanager
def _doorbell(_place: Path) -> Iterator[str]:
    doorbell = Doorbell()
    try:
        yield doorbell.url
    finally:
        doorbell.stop()


def _welcome(_environ: object, start_response: Callable[..., object]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@contextmanager
def _application(_place: Path) -> Iterator[str]:
    with WsgiServer("127.0.0.1", 0, _welcome) as server:
        yield f"http://127.0.0.1:{server.server_port}"


SERVERS: list[Callable[[Path], object]] = [
    _receiver,
    _bitcoin,
    _billmanager,
    _chain,
    _raw,
    _fake_bridge,
    _doorbell,
    _application,
]


def _port(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.__name__.strip("_"))
def test_a_closed_server_has_hung_up_and_its_threads_are_over(server, tmp_path):
    before = set(threading.enumerate())
    with ExitStack() as peers:
        with server(tmp_path) as url:
            held = [peers.enter_context(socket.create_connection(("127.0.0.1", _port(url)), 10)) for _ in SAID]
            for peer, said in zip(held, SAID.values(), strict=True):
                peer.sendall(said)
            assert peer.recv(1)  # the last one is answered, so all were accepted
        # Only then do the peers read: whoever was not hung up on would wait here for ten seconds and fail.
        for peer in held:
            _read_to_the_end(peer)
        assert set(threading.enumerate()) == before


def _read_to_the_end(peer: socket.socket) -> None:
    try:
        while peer.recv(65536):
            pass
    except ConnectionResetError:
        return


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.__name__.strip("_"))
def test_a_peer_that_is_killed_leaves_no_socket_unclosed(server, said, tmp_path):
    before = set(threading.enumerate())
    with server(tmp_path) as url:
        words = [sys.executable, "-c", PEER, str(_port(url)), SAID[said].hex()]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
            assert peer.stdout is not None
            assert peer.stdout.readline() == b"said\n"
            peer.kill()
    assert set(threading.enumerate()) == before
    # A socket that nobody closed is a warning here, and so an error.
    gc.collect()


def test_waiting_for_a_program_closes_each_question_that_was_not_answered(tmp_path):
    asked = 0

    def busy_at_first(connection: socket.socket, request: bytes) -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            connection.sendall(answer("ok"))

    program = SimpleNamespace(name="web", exit_code=None, tail=str)
    with RawServer(busy_at_first) as server:
        wait_until_answering(program, server.port, patience_seconds=0.1)
    assert asked == 4
    gc.collect()
