"""Owns the one exception that becomes an error document. It must not know how a document is written."""

from __future__ import annotations


class CoreError(Exception):
    """An error the core answers with: type, object and parameters (BILLmanager contract 8.4)."""

    def __init__(self, kind: str, target: str = "", value: str = "", params: dict[str, str] | None = None) -> None:
        super().__init__(f"{kind}({target},{value})")
        self.kind = kind
        self.target = target
        self.value = value
        self.params = dict(params or {})
        self.messages: dict[str, str] = {}


class TreeRefused(Exception):
    """A module tree, file name or description that a real installation would refuse."""
