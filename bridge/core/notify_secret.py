"""The secret that notifications are signed with, as it is written: `whsec_` and base64 (Standard Webhooks).

Owns its reading; must not sign anything, nor quote a secret.
"""

import base64

from bridge.core.errors import Refused

_PREFIX = "whsec_"
_SHORTEST_BYTES = 16


def decode_secret(text: str) -> bytes:
    """The key bytes, whether or not the base64 has kept its `=` at the end. Raises Refused `bad_secret`."""
    encoded = text.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_PREFIX) or len(key) < _SHORTEST_BYTES:
        raise Refused("bad_secret", f"A secret is whsec_ and the base64 of at least {_SHORTEST_BYTES} bytes.")
    return key
