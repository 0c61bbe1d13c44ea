"""Checks a signature on callbacks, should a gateway ever send one.

Owns one configurable HMAC check; must not be relied on: the contract names no signature (section 6), so it is off by
default, and a valid signature still only rings the doorbell.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence

from bridge.core.errors import Refused


class CallbackSignature:
    """HMAC-SHA256 over the raw body in one header, hex or base64, under the current or the previous secret."""

    def __init__(self, *, header: str, secrets: Sequence[bytes], encoding: str = "hex", prefix: str = ""):
        if encoding not in {"hex", "base64"}:
            raise ValueError("encoding must be hex or base64")
        if not header or not secrets or not all(secrets):
            raise ValueError("a signature needs a header name and secrets that are not empty")
        self._header = header.lower()
        self._secrets = tuple(secrets)
        self._encoding = encoding
        self._prefix = prefix

    def __repr__(self) -> str:
        return f"CallbackSignature({self._header}, {self._encoding}, secrets redacted)"

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise Refused `bad_signature` unless the header signs exactly these bytes; raises nothing else."""
        given = self._decoded(next((value for name, value in headers.items() if name.lower() == self._header), ""))
        matches = [hmac.compare_digest(hmac.digest(secret, body, "sha256"), given) for secret in self._secrets]
        if not any(matches):
            raise Refused("bad_signature", "The signature does not match.")

    def is_valid(self, headers: Mapping[str, str], body: bytes) -> bool:
        """The same as a word."""
        try:
            self.check(headers, body)
        except Refused:
            return False
        return True

    def _decoded(self, text: str) -> bytes:
        if not text.startswith(self._prefix):
            return b""
        text = text.removeprefix(self._prefix)
        try:
            return bytes.fromhex(text) if self._encoding == "hex" else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return b""
