"""How an answer travels, and how scripted faults spoil it: cut, cut short, slow, redirected, refused, empty.

Must not know what an answer means. Faults before the effect leave the world untouched; those after it do not.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Response, request

from sandbox.faults import Fault

if TYPE_CHECKING:
    from sandbox.world import World

DRIP_PIECES = 20

encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def as_json(content: dict[str, Any], status: int = 200) -> Response:
    """A JSON answer with alphabetical members, as every genuine gateway body has (SUBTC contract 3)."""
    return Response(encode(content), status, mimetype="application/json")


def cut() -> Response:
    """End the connection without an answer; where there is no socket (Flask's test client) an empty 502 stands in."""
    _hang_up(request.environ)
    return Response(b"", 502)


def before(world: World, faults: list[Fault]) -> Response | None:
    """Faults that strike before anything happened: an answer that replaces the call, or None."""
    for fault in faults:
        if fault.kind in ("latency", "slow"):
            world.pause(fault.seconds(1))
        elif fault.kind in _BEFORE:
            return _BEFORE[fault.kind](fault)
    return None


def after(world: World, faults: list[Fault], answer: Response) -> Response:
    """Faults that strike the finished answer on its way back; the effect has taken place."""
    for fault in faults:
        if fault.kind in _AFTER:
            return _AFTER[fault.kind](world, fault, answer)
    return answer


def _redirect(fault: Fault) -> Response:
    location = str(fault.params.get("location", "http://redirected.invalid/v1/btc"))
    return Response(b"", int(fault.params.get("status", 307)), {"Location": location})


def _rate_limited(fault: Fault) -> Response:
    """Always 429, whatever the status knob says: a limiter sits in front of the gateway (EMU)."""
    answer = as_json({"ok": False, "error": "RATE_LIMITED", "detail": {"hint": "slow down"}}, 429)
    if "retry_after_s" in fault.params:
        answer.headers["Retry-After"] = str(fault.params["retry_after_s"])
    return answer


def _broken(*_: object) -> Response:
    return Response("Internal Server Error", 500, mimetype="text/plain")


def _truncated(world: World, fault: Fault, answer: Response) -> Response:
    text = answer.get_data()
    return Response(text[: len(text) * 2 // 3], answer.status_code, mimetype=answer.mimetype)


def _not_json(world: World, fault: Fault, answer: Response) -> Response:
    return Response("<html><body>It works!</body></html>", answer.status_code, mimetype="text/html")


def _slow_drip(world: World, fault: Fault, answer: Response) -> Response:
    text, pause_s = answer.get_data(), fault.seconds(2) / DRIP_PIECES
    width = max(1, -(-len(text) // DRIP_PIECES))

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(text), width):
            world.pause(pause_s)
            yield text[start : start + width]

    headers = {"Content-Length": str(len(text))}
    return Response(pieces(), answer.status_code, headers, mimetype=answer.mimetype)


def _cut_midway(world: World, fault: Fault, answer: Response) -> Response:
    text, environ = answer.get_data(), request.environ

    def pieces() -> Iterator[bytes]:
        yield text[: len(text) // 2]
        _hang_up(environ)

    headers = {"Content-Length": str(len(text))}
    return Response(pieces(), answer.status_code, headers, mimetype=answer.mimetype)


def _hang_up(environ: dict[str, Any]) -> None:
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was faster


_BEFORE: dict[str, Callable[[Fault], Response]] = {
    "error_500_before": _broken,
    "cut_before": lambda fault: cut(),
    "redirect": _redirect,
    "rate_limited": _rate_limited,
    "down": lambda fault: Response("Service Unavailable", 503, mimetype="text/plain"),
}
_AFTER: dict[str, Callable[[World, Fault, Response], Response]] = {
    "error_500_after": _broken,
    "lost_response": lambda world, fault, answer: cut(),
    "truncated_json": _truncated,
    "cut_midway": _cut_midway,
    "not_json": _not_json,
    "slow_drip": _slow_drip,
}
