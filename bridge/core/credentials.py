"""Passwords, one-time codes, the hashes of tokens, the secret that notifications are signed with, and the rules of logging in.

Owns the arithmetic (scrypt, RFC 6238) and how a secret is written (Standard Webhooks: `whsec_` and base64); must not draw randomness
or read a clock, both are passed in, nor quote a secret.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from bridge.core.errors import Refused
from bridge.core.limits import Positive

_N, _R, _P = 2**14, 8, 1
STEP_SECONDS = 30
DIGITS = 6
SHORTEST_PASSWORD = 12
_NAME = re.compile(r"[a-z][a-z0-9._-]{1,31}")
# Names that the audit uses for parts of the bridge: a person must not look like one.
_RESERVED = frozenset({"worker", "module", "policy", "payer", "replay", "system", "admin", "config"})


@dataclass(frozen=True, kw_only=True)
class LoginRules:
    """How long a session lives at most and without a sign of life, and when guessing is locked out."""

    session_seconds: Positive = 43_200
    idle_seconds: Positive = 1_800
    failures_before_lock: Positive = 5
    lock_seconds: Positive = 900


def check_name(name: str) -> str:
    """Raises Refused("bad_name")."""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        detail = "A name is 2 to 32 of a-z 0-9 . _ - and begins with a letter; names of the bridge's parts are taken."
        raise Refused("bad_name", detail, field="name")
    return name


def check_password(password: str) -> None:
    """Raises Refused("weak_password"): length is the only rule."""
    if not SHORTEST_PASSWORD <= len(password) <= 1_024:
        raise Refused("weak_password", f"A password has {SHORTEST_PASSWORD} characters or more.", field="password")


def hash_password(password: str, *, salt: bytes) -> str:
    """The text that is stored: scheme, cost, salt and hash."""
    digest = hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=32)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${digest.hex()}"


def is_password(password: str, stored: str) -> bool:
    """Whether `password` is the one behind `stored`; takes the same time whatever is wrong."""
    _, n, r, p, salt, digest = stored.split("$")
    made = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=int(n), r=int(r), p=int(p), dklen=32)
    return hmac.compare_digest(made.hex(), digest)


# Compared against when there is no such operator, so that the time tells nobody which names exist. No password has this hash.
NOBODY = f"scrypt${_N}${_R}${_P}${'00' * 16}${'00' * 32}"


def totp(secret: bytes, step: int) -> str:
    """The one-time code of a step (RFC 6238 with SHA-1, 30 seconds, 6 digits: what every authenticator app knows)."""
    digest = hmac.digest(secret, step.to_bytes(8), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF
    return str(number % 10**DIGITS).rjust(DIGITS, "0")


def matching_step(secret: bytes, code: str, *, now: datetime) -> int | None:
    """The step whose code this is: the present one or a neighbour, for clocks that differ. None when there is none."""
    present = int(now.timestamp()) // STEP_SECONDS
    steps = [step for step in (present - 1, present, present + 1) if hmac.compare_digest(totp(secret, step), code)]
    return steps[-1] if steps else None


def enrolment_url(name: str, secret: bytes, *, issuer: str) -> str:
    """What an authenticator app scans."""
    encoded = base64.b32encode(secret).decode().rstrip("=")
    label = quote(f"{issuer}:{name}")
    return f"otpauth://totp/{label}?secret={encoded}&issuer={quote(issuer)}&digits={DIGITS}&period={STEP_SECONDS}"


def token_sha256(token: str) -> str:
    """How a session's or an API's token is stored."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


_SECRET_PREFIX = "whsec_"
_SHORTEST_SECRET_BYTES = 16


def decode_secret(text: str) -> bytes:
    """The key bytes, whether or not the base64 has kept its `=` at the end. Raises Refused `bad_secret`."""
    encoded = text.removeprefix(_SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_SECRET_PREFIX) or len(key) < _SHORTEST_SECRET_BYTES:
        raise Refused("bad_secret", f"A secret is whsec_ and the base64 of at least {_SHORTEST_SECRET_BYTES} bytes.")
    return key
