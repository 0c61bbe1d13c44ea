"""Owns how a web request becomes a CGI run and its output an answer. It must not add any authentication."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.billmanager.core import Core
from sandbox.billmanager.runner import Outcome

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HEADER = re.compile(rb"[A-Za-z0-9-]+:")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What arrived, as the web server saw it."""

    method: str
    name: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    remote: str
    scheme: str
    host: str
    port: str
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What goes back."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


def script(core: Core, name: str) -> Path | None:
    """The executable for a plain file name, or None."""
    path = core.base / "cgi" / name
    if not _NAME.fullmatch(name) or not path.is_file() or not path.stat().st_mode & 0o111:
        return None
    return path


def serve(core: Core, request: Request) -> Reply:
    """Run the script and translate its output (BILLmanager contract 7, 15.5)."""
    path = script(core, request.name)
    if path is None:
        return _plain("404 Not Found", "no such script")
    fault = core.faults.strike("cgi", request.name)
    kind = fault.kind if fault else ""
    if fault is not None and kind == "dead":
        return _plain("502 Bad Gateway", "planned fault")
    if fault is not None and kind == "slow":
        time.sleep(fault.seconds)
    second = threading.Thread(target=_run, args=(core, path, request, kind)) if kind == "duplicate" else None
    if second is not None:
        second.start()
    outcome = _run(core, path, request, kind)
    if second is not None:
        second.join()
    return _plain("502 Bad Gateway", "planned fault") if kind == "lost" else translate(core, outcome)


def _run(core: Core, path: Path, request: Request, fault: str) -> Outcome:
    folders = {"base": core.base, "cgi": core.base / "cgi", "root": Path("/")}
    return core.runner.run(
        kind="cgi",
        name=request.name,
        argv=[str(path)],
        stdin=request.body,
        environment=environment(core, request),
        cwd=folders[core.knobs.cgi_cwd],
        timeout=core.knobs.cgi_timeout_s,
        fault="disk_full" if fault == "disk_full" else "",
    )


def environment(core: Core, request: Request) -> dict[str, str]:
    """The CGI variables, with the quirks that the knobs ask for."""
    query = f"?{request.query}" if request.query else ""
    found = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query,
        "REMOTE_ADDR": request.remote,
        "SERVER_NAME": request.host.partition(":")[0],
        "SERVER_PORT": request.port,
        "SERVER_PROTOCOL": request.protocol,
        "SERVER_SOFTWARE": "ihttpd",
        "SCRIPT_NAME": f"/mancgi/{request.name}",
        "REQUEST_URI": f"/mancgi/{request.name}{query}",
    }
    if core.knobs.cgi_https == "on" or (core.knobs.cgi_https == "auto" and request.scheme == "https"):
        found["HTTPS"] = "on"
    names = {name.lower() for name, _ in request.headers}
    if "content-length" not in names and request.body:
        found |= _length(core, str(len(request.body)))
    for name, value in request.headers:
        found |= _header(core, name, value)
    return found


def _length(core: Core, value: str) -> dict[str, str]:
    name = "HTTP_CONTENT_LENGTH" if core.knobs.cgi_content_length == "http_only" else "CONTENT_LENGTH"
    return {name: value}


def _header(core: Core, name: str, value: str) -> Mapping[str, str]:
    upper = name.upper().replace("-", "_")
    if upper == "PROXY":  # a client must not set HTTP_PROXY
        return {}
    if upper == "CONTENT_LENGTH":
        return _length(core, value) if value else {}
    if upper == "CONTENT_TYPE" or (upper.startswith("CONTENT_") and core.knobs.cgi_content_headers == "bare"):
        return {upper: value}
    return {f"HTTP_{upper}": value}


def translate(core: Core, outcome: Outcome) -> Reply:
    """A script's output as an answer: Status, Location, headers or, in tolerant mode, bare HTML."""
    if outcome.rc is None:
        return _plain("504 Gateway Timeout", "the script took too long")
    if outcome.rc != 0 or not outcome.stdout:
        return _plain("500 Internal Server Error", "the script failed")
    parts = re.split(rb"\r?\n\r?\n", outcome.stdout, maxsplit=1)
    lines = parts[0].splitlines()
    if len(parts) < 2 or not all(_HEADER.match(line) for line in lines):
        if core.knobs.cgi_mode == "strict":
            return _plain("500 Internal Server Error", "no headers")
        return Reply(status="200 OK", headers=[("Content-Type", "text/html")], body=outcome.stdout)
    headers = [_pair(line) for line in lines]
    status = next((value for name, value in headers if name.lower() == "status"), "")
    moved = any(name.lower() == "location" for name, _ in headers)
    kept = [(n, v) for n, v in headers if n.lower() not in ("status", "content-length", "connection")]
    return Reply(status=status or ("302 Found" if moved else "200 OK"), headers=kept, body=parts[1])


def _pair(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.strip(), value.strip()


def _plain(status: str, text: str) -> Reply:
    return Reply(status=status, headers=[("Content-Type", "text/plain; charset=utf-8")], body=f"{text}\n".encode())
