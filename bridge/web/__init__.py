"""The HTTP face of the bridge: API, callbacks, pay page, operations. Puts the application together.

Owns which routes, limits and headers apply; must hold no rule of the business, nor start a thread, a migration or a network call.
"""

from collections.abc import Callable, Mapping

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge.context import Bridge
from bridge.upkeep.check import Watching
from bridge.web import admin as admin_pages
from bridge.web import (
    api,
    around,
    errors,
    ops,
    pay,
)
from bridge.web.context import CallbackCheck, Shop, Sign, Web
from bridge.web.look import Look

__all__ = ["Shop", "create_app"]


def create_app(
    bridge: Bridge,
    *,
    api_keys: Mapping[str, str],
    sign: Sign,
    callback_check: CallbackCheck | None = None,
    shop: Shop | None = None,
    metrics_open: bool = True,
    requests_per_minute: int = 0,
    trusted_proxies: int = 0,
    admin: bool = False,
    watching: Callable[[], Watching] = Watching,
) -> Flask:
    """The WSGI application of one bridge.

    `api_keys`: SHA-256 hex of each API key to its merchant id. `metrics_open`: whether /metrics and the details of
    /readyz need no API key. `requests_per_minute`: per client address and process, 0 is no limit. `trusted_proxies`: how
    many reverse proxies in front set X-Forwarded-For. `admin`: whether the operators' pages are served; keep them on
    loopback or behind an allow-list. `watching`: what the operator's own file says of the alert rules, asked each time.
    """
    app = Flask(__name__)
    shop = shop or Shop()
    app.extensions["bridge"] = Web(
        bridge=bridge,
        api_keys=dict(api_keys),
        sign=sign,
        callback_check=callback_check,
        shop=shop,
        metrics_open=metrics_open,
        watching=watching,
    )
    app.extensions["look"] = Look(shop)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    around.register(app, requests_per_minute=requests_per_minute)
    errors.register(app)
    for routes in (api.routes, api.operator_routes, pay.routes, ops.routes):
        app.register_blueprint(routes)
    if admin:
        app.register_blueprint(admin_pages.routes)
    if trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_host=0)  # type: ignore[method-assign]
    return app
