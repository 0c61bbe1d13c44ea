"""The application for a WSGI server of one's own: `bridge.wsgi:app`, with the file named by SUBTC_BRIDGE_CONFIG.

The only module that builds something at import, and only when `app` is asked for.
"""

import logging
from pathlib import Path
from typing import Any

from flask import Flask

from bridge.billmanager import sign
from bridge.cli.operations import OperationsFile
from bridge.config import Settings, load_settings, path_from_environment
from bridge.logs import log
from bridge.people.policy import take_file
from bridge.runtime import api_keys, build, export_spans
from bridge.upkeep.check import Watching
from bridge.web import Shop, create_app


def application(settings: Settings, *, config: str | Path | None = None) -> Flask:
    """The web application over a newly built bridge. `config` is where the settings came from: operations.toml is beside it."""
    bridge = build(settings)
    # One thread is always there to say how things stand.
    bridge.store.leave_free(threads=max(1, settings.web_threads - 1))
    secrets = {m.id: tuple(s.get_secret_value() for s in m.notify_secrets) for m in settings.merchants}
    return create_app(
        bridge,
        api_keys=api_keys(settings),
        sign=lambda merchant, message_id, body, now: sign(
            event_id=message_id, body=body, secrets=secrets[merchant], now=now
        ),
        callback_check=bridge.receiving.callback_check,
        shop=Shop(**settings.shop.model_dump()),
        metrics_open=settings.metrics_open,
        requests_per_minute=settings.requests_per_minute,
        trusted_proxies=settings.trusted_proxies,
        admin=settings.admin,
        watching=OperationsFile(config) if config is not None else Watching,
    )


def take_policy(settings: Settings) -> None:
    """What the file says about money becomes a version, or a proposal of one: once, before the processes that serve.

    They only look up what is in force: one that is replaced later must not take a file that was edited since. Without a
    database nothing is taken, and what was in force stays.
    """
    bridge = build(settings)
    try:
        take_file(bridge)
    except Exception as trouble:  # a driver's own error too: say what kind, not what it printed
        log("policy.not_taken", level=logging.ERROR, error=getattr(trouble, "code", type(trouble).__name__))
    finally:
        bridge.close()


def __getattr__(name: str) -> Any:
    if name == "app":
        path = path_from_environment()
        settings = load_settings(path)
        take_policy(settings)
        export_spans(settings)
        return application(settings, config=path)
    raise AttributeError(name)
