"""A policy version as a document: its canonical text, its hash, and what differs between two of them.

Owns these three; must not know what a setting means: whatever the settings file says about money is one document.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any


def canonical(document: Mapping[str, Any]) -> str:
    """The one text of a document: the same content has the same text, whatever the order in the file."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def differences(before: str, after: str) -> list[dict[str, str | None]]:
    """What changes from one canonical text to another: setting, before and after, in the order of the settings' paths.

    None stands where a document does not have the setting at all.
    """
    old, new = (dict(_flat(json.loads(text))) for text in (before, after))
    changed = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    return [{"setting": path, "before": old.get(path), "after": new.get(path)} for path in changed]


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{at}.{name}" if at else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value, 1):
            # A named item, such as a price source, keeps its path when its place in the list changes.
            yield from _flat(item, f"{at}.{item.get('name', number)}")
    elif isinstance(value, list):
        yield at, ", ".join(str(item) for item in value)
    else:
        yield at, value if isinstance(value, str) else json.dumps(value)
