"""Owns the client's and the administrator's pages. It must not go around the core's functions."""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.wrappers import Response as BaseResponse

from bridge.sandbox.billmanager.core import Core

blueprint = Blueprint("pages", __name__)


def show(core: Core, params: dict[str, str]) -> BaseResponse:
    """The page for a request without `out`."""
    return Response("panel\n")
