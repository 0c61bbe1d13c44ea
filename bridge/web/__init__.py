"""The HTTP face of the bridge: API, callbacks, pay page, operations. Holds no business rule."""

from bridge.web.app import create_app
from bridge.web.context import Shop

__all__ = ["Shop", "create_app"]
