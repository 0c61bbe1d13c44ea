"""The settings of one payment method: which bridge, which key, which notification secrets, whose customers.

Owns their shape and redaction; must not fetch them (they come with payment.info or with the settings form).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Mapping, NamedTuple
from urllib.parse import SplitResult, urlsplit

from subtc import log

URL_FIELD = "subtc_bridge_url"
KEY_FIELD = "subtc_api_key"
SECRET_FIELD = "subtc_notify_secret"
OLD_SECRET_FIELD = "subtc_notify_secret_old"
TIER_FIELD = "subtc_tier"

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TIER = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_KEY = re.compile(r"[\x21-\x7e]{8,512}")


class Settings(NamedTuple):
    """Secrets stay out of repr; `source` names address and key without telling them."""

    bridge_url: str
    api_key: str
    notify_secret: str
    notify_secret_old: str = ""
    tier: str = ""

    def __repr__(self) -> str:
        return f"Settings(bridge_url={self.bridge_url!r})"

    @property
    def source(self) -> str:
        """An id of address and key. It changes with them: which account they reach is known to `identity`."""
        return hashlib.sha256(f"{self.bridge_url}\n{self.api_key}".encode()).hexdigest()[:16]

    def secrets(self) -> list[bytes]:
        """The secrets a notification may be signed with: the current one and, while rotating, the old one."""
        texts = [text for text in (self.notify_secret, self.notify_secret_old) if text]
        return [secret for secret in map(decode_secret, texts) if secret]


def read(fields: Mapping[str, str]) -> Settings:
    """Settings from form or payment.info fields; from here on no log line can show the secrets."""
    found = Settings(
        bridge_url=fields.get(URL_FIELD, "").strip().rstrip("/"),
        api_key=fields.get(KEY_FIELD, "").strip(),
        notify_secret=fields.get(SECRET_FIELD, "").strip(),
        notify_secret_old=fields.get(OLD_SECRET_FIELD, "").strip(),
        tier=fields.get(TIER_FIELD, "").strip(),
    )
    for secret in (found.api_key, found.notify_secret, found.notify_secret_old):
        log.hide(secret)
    return found


def decode_secret(text: str) -> bytes:
    """The bytes of a `whsec_<base64>` secret, or nothing when it is malformed or shorter than 16 bytes.

    The `=` at its end may be missing: a double click leaves them out.
    """
    if not text.startswith("whsec_"):
        return b""
    encoded = text[len("whsec_") :].rstrip("=")
    try:
        secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return secret if len(secret) >= 16 else b""


def is_loopback(parts: SplitResult) -> bool:
    return (parts.hostname or "") in _LOOPBACK


def url_is_good(url: str) -> bool:
    """https anywhere, plain http only to this very machine; no user, query or fragment."""
    if not re.fullmatch(r"[\x21-\x7e]{8,512}", url):
        return False
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return False
    if not parts.hostname or parts.username or parts.query or parts.fragment or not port_ok:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts))


def key_is_good(key: str) -> bool:
    return bool(_KEY.fullmatch(key))


def tier_is_good(tier: str) -> bool:
    """A tier's name as the bridge's policy spells it, or none."""
    return bool(_TIER.fullmatch(tier))
