"""Keeps the application under the policy version in force: a look at most once a second, however many requests come.

Owns when it is looked; which version that is, `people.policy` says.
"""

import logging
import threading
import time
from dataclasses import replace

from flask import Flask, current_app, request

from bridge.core.errors import BridgeError
from bridge.logs import log
from bridge.people.policy import in_force
from bridge.web.context import here

PAUSE_SECONDS = 1
# Asks nobody else; and what says how the bridge is must answer when nothing else does, and decides nothing.
_ASKS_NOBODY, _DECIDES_NOTHING = ("ops.healthz", "static"), "ops."


class Watch:
    """When it was looked last, in this process. One thread looks; the others go on with what is known."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._due_at = 0.0

    def look(self) -> None:
        """Raises what hinders the look while no version was ever known: nothing is decided by the file alone."""
        web = here()
        is_known = web.bridge.policy_file is None or web.bridge.policy_number > 0
        if time.monotonic() < self._due_at or not self._turn.acquire(blocking=not is_known):
            return
        try:
            bridge = in_force(here().bridge)
            if bridge is not web.bridge:
                current_app.extensions["bridge"] = replace(web, bridge=bridge)
            self._due_at = time.monotonic() + PAUSE_SECONDS
        except BridgeError as error:
            log("policy.unread", level=logging.ERROR, code=error.code)
            self._due_at = time.monotonic() + PAUSE_SECONDS if is_known else 0.0
            if not is_known:
                raise
        finally:
            self._turn.release()


def register(app: Flask) -> None:
    """Every request is answered under the version in force a second ago or later."""
    watch = Watch()

    @app.before_request
    def under_the_policy_in_force() -> None:
        endpoint = request.endpoint or ""
        if endpoint in _ASKS_NOBODY:
            return
        try:
            watch.look()
        except Exception:
            if not endpoint.startswith(_DECIDES_NOTHING):
                raise
