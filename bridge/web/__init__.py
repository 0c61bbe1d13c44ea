"""The HTTP face of the bridge: API, callbacks, pay page, operations. Holds no business rule."""
