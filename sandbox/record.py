"""What the sandbox was asked: a bounded record of requests, shown with every API key taken out.

Must not change an answer or slow a call down; the work is done when somebody looks.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

_KEY = re.compile(r"SUBTC-KEY-[0-9A-Za-z]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    at: float
    method: str
    path: str
    query: str
    key: str | None
    idempotency_key: str | None
    body: bytes
    status: int

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON; `key` is a short digest that tells keys apart without showing them."""
        return {
            "at": self.at,
            "method": self.method,
            "path": redacted(self.path),
            "query": redacted(self.query),
            "key": None if self.key is None else "sha256:" + hashlib.sha256(self.key.encode()).hexdigest()[:8],
            "idempotency_key": None if self.idempotency_key is None else redacted(self.idempotency_key),
            "body": redacted(self.body.decode("utf-8", "replace")),
            "status": self.status,
        }


def redacted(text: str) -> str:
    """`text` without anything that looks like an API key."""
    return _KEY.sub("SUBTC-KEY-(redacted)", text)
