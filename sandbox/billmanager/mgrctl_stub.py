"""Owns the command line of mgrctl in a sandbox tree: it relays the call to the core. It must not decide anything."""

import _socket  # socket itself would double the start time, and this starts several times per payment
import os
import sys

BASE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib would double the start time


def _address() -> tuple[int, str]:
    with open(os.path.join(BASE, "var", "run", "core.address")) as source:  # noqa: PTH118, PTH123
        port, token = source.read().split()
    return int(port), token


def _arguments(argv: list[str]) -> tuple[list[str], list[str]]:
    # -e 'key=$NAME' takes the value from the environment, so that it never stands in the process list.
    plain, secret = [], []
    rest = iter(argv)
    for item in rest:
        if item != "-e":
            plain.append(item)
            continue
        key, _, name = next(rest, "").partition("=$")
        secret.append(f"{key}={os.environ.get(name, '')}")
    return plain, secret


def _exchange(port: int, token: str, body: bytes) -> tuple[dict[str, str], bytes]:
    head = f"POST /_mgrctl HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Core-Token: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    link = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    link.settimeout(120)
    link.connect(("127.0.0.1", port))
    link.sendall(head.encode() + body)
    try:
        return _answer(link)
    finally:
        link.close()


def _answer(link: _socket.socket) -> tuple[dict[str, str], bytes]:
    # By its length: the server hangs up only a while after it has answered.
    answer, headers, content, size = b"", {}, b"", -1
    while size < 0 or len(content) < size:
        piece = link.recv(65536)
        if not piece:
            raise ConnectionError
        answer += piece
        head, ended, content = answer.partition(b"\r\n\r\n")
        if ended and size < 0:
            lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")]
            headers = {name.lower(): value for name, _, value in lines}
            size = int(headers["content-length"])
    return headers, content


def main(argv: list[str]) -> int:
    plain, secret = _arguments(argv)
    parts = [os.environ.get("SSH_CONNECTION", ""), str(os.getpid()), str(len(secret)), *secret, *plain]
    try:
        headers, content = _exchange(*_address(), "\0".join(parts).encode("utf-8", "surrogateescape"))
        rc = int(headers["x-mgrctl-rc"])
    except (OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"mgrctl: no connection to billmgr core: {type(error).__name__}\n")
        return 1
    if headers.get("x-mgrctl-fault") == "killed":
        os.kill(os.getpid(), 9)
    sys.stderr.write(headers.get("x-mgrctl-stderr", "").replace("\\n", "\n"))
    sys.stdout.buffer.write(content)
    return rc


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
